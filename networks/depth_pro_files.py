"""The files of DepthPro's weights, as Hugging Face has them (`apple/DepthPro-hf`)."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_FILE = "model.safetensors"
FILES = ("config.json", "preprocessor_config.json", WEIGHTS_FILE)


def missing_files(folder: Path) -> list[str]:
    """Return the names of the files that a folder lacks."""
    return [name for name in FILES if not (folder / name).is_file()]
