"""The demo's models for the whole EgoX graph: real ones from a folder, or tiny random stand-ins."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
STAND_IN_NODES = TESTS / "support" / "standin_nodes"

STAND_INS, POCKET = "random stand-ins", "pocket model"


@dataclass(frozen=True)
class Wanted:
    """Where a model is looked for: ComfyUI's folders for it, and patterns of its name, the best first."""

    folders: tuple[str, ...]
    patterns: tuple[str, ...]


WANTED = {
    "unet": Wanted(("diffusion_models", "unet"), ("*wan*2*1*i2v*480p*", "*wan*2*1*i2v*", "*wan*i2v*480p*")),
    "lora": Wanted(("loras",), ("*egox*",)),
    "vae": Wanted(("vae",), ("*wan*2*1*vae*",)),
    "clip": Wanted(("text_encoders", "clip"), ("*umt5*xxl*",)),
    "clip_vision": Wanted(("clip_vision",), ("*clip*vision*h*", "*vit*h*")),
}


def write_stand_ins(models_dir: Path) -> dict[str, str]:
    """Write the tests' tiny models below a models folder; returns file name by role."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from support.tiny_models import write_tiny_models

    return write_tiny_models(models_dir)


def find_models(models_dir: Path) -> dict[str, str]:
    """Find the real models in a ComfyUI models folder.

    Returns:
        File name by role, relative to the folder for that kind, as ComfyUI's loaders list it.

    Raises:
        ValueError: if the folder or a model is missing; the message says where each was looked for.
    """
    if not models_dir.is_dir():
        raise ValueError(f"There is no models folder {models_dir}. Give MODELS=DIR with ComfyUI's folders in it.")
    found = {role: _best_match(models_dir, wanted) for role, wanted in WANTED.items()}
    missing = [
        f"- {' or '.join(wanted.folders)}/{wanted.patterns[0]}.safetensors"
        for role, wanted in WANTED.items()
        if found[role] is None
    ]
    if missing:
        raise ValueError(
            f"{models_dir} lacks (the README lists the downloads, and how to rename EgoX's LoRA):\n"
            + "\n".join(missing)
        )
    return found


def write_model_paths(models_dir: Path, target: Path) -> None:
    """Write an `extra_model_paths.yaml` that leads ComfyUI to a models folder. JSON is YAML, too."""
    kinds: dict[str, str] = {}
    for wanted in WANTED.values():
        there = [folder for folder in wanted.folders if (models_dir / folder).is_dir()]
        kinds[wanted.folders[0]] = "\n".join(there)
    content = {"demo": {"base_path": str(models_dir.resolve()), **kinds}}
    target.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _best_match(models_dir: Path, wanted: Wanted) -> str | None:
    files = [
        file.relative_to(models_dir / folder).as_posix()
        for folder in wanted.folders
        for file in sorted((models_dir / folder).rglob("*.safetensors"))
    ]
    for pattern in wanted.patterns:
        for name in files:
            if fnmatch(name.lower(), f"{pattern}.safetensors"):
                return name
    return None
