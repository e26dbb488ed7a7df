"""Inputs that choose weights in Hugging Face's layout, and room for what is none of ComfyUI's own models."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import folder_paths
import torch

from ...common.paths import is_folder, size_of
from ...common.safe_text import is_fit_to_list
from ...networks.pretrained_files import ALL, Pretrained, folders_of, weights_files
from .model_files import ListedInput

NONE = "none"

for _kind in sorted({source.kind for source in ALL}):
    folder_paths.add_model_folder_path(_kind, str(Path(folder_paths.models_dir) / _kind))


def weights_input(name: str, source: Pretrained, tooltip: str, *, or_none: bool = False) -> ListedInput:
    """Return an input that chooses a folder of weights; where there is none, the one that templates name is offered.

    Args:
        name: the input's name.
        source: which network's folders are listed.
        tooltip: what the artist reads.
        or_none: whether the network may be left out.
    """

    def listed() -> list[str]:
        names = [name for name in folders_of(source, _roots(source)) if is_fit_to_list(name)] or [source.default]
        return [NONE, *names] if or_none else names

    return ListedInput(name, listed, tooltip=tooltip)


def folder_of(source: Pretrained, name: str) -> Path:
    """Return the folder of weights; where there is none, the place where it belongs, for the error to name."""
    places = [root / name for root in _roots(source)]
    return next((place for place in places if is_folder(place)), places[-1])


def make_room(folder: Path, activations: int, device: torch.device) -> None:
    """Have ComfyUI offload models for weights that it does not know.

    Args:
        folder: of the weights.
        activations: bytes that the network takes beside them.
        device: where it will run.
    """
    need = sum(size_of(path) for path in weights_files(folder)) + activations
    comfy.model_management.free_memory(need, device)


def _roots(source: Pretrained) -> list[Path]:
    return [Path(root) for root in folder_paths.get_folder_paths(source.kind)]
