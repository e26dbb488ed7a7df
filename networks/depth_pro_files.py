"""The files of DepthPro's weights, as Hugging Face has them (`apple/DepthPro-hf`)."""

from __future__ import annotations

from pathlib import Path

from ..common.paths import is_file

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
FILES = (CONFIG_FILE, "preprocessor_config.json", WEIGHTS_FILE)


def missing_files(folder: Path) -> list[str]:
    """Return the names of the files that a folder lacks."""
    return [name for name in FILES if not is_file(folder / name)]
