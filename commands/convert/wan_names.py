"""Names of Wan's weights in a checkpoint: from what trainers and diffusers write to ComfyUI's."""

from __future__ import annotations

from ...networks.weights.wan_names import from_diffusers
from .checkpoint import unwrapped

# peft keeps the weight that it adds to under this name.
_BASE_LAYER = ".base_layer."


def wan_names(names: list[str]) -> dict[str, str]:
    """Return each tensor's name in ComfyUI's Wan by its name in the file; names that are no one's stay as they are.

    Raises:
        ValueError: if two tensors get one name.
    """
    plain = {name: short.replace(_BASE_LAYER, ".") for name, short in unwrapped(names).items()}
    # norm2 is diffusers' name for what the others call norm3; Wan's own norm2 has no weights.
    if any(".attn2." in short for short in plain.values()):
        plain = {name: from_diffusers(short) for name, short in plain.items()}
    return plain
