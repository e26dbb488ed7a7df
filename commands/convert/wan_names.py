"""Names of Wan's weights: from diffusers' to ComfyUI's, which are those of Wan's own release.

The pairs are those of diffusers' own conversion (scripts/convert_wan_to_diffusers.py, Apache-2.0), read backwards.
"""

from __future__ import annotations

import re

from .checkpoint import unwrapped

_OUTSIDE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
}
_INSIDE = {
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "o",
    "norm_q": "norm_q",
    "norm_k": "norm_k",
    "add_k_proj": "k_img",
    "add_v_proj": "v_img",
    "norm_added_k": "norm_k_img",
}
_ATTENTION = {"attn1": "self_attn", "attn2": "cross_attn"}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_OF_A_LAYER = re.compile(r"(.+)\.(weight|bias)")
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
        plain = {name: _from_diffusers(short) for name, short in plain.items()}
    return plain


def _from_diffusers(name: str) -> str:
    if name == "scale_shift_table":
        return "head.modulation"
    block = _BLOCK.fullmatch(name)
    if block is None:
        layer = _OF_A_LAYER.fullmatch(name)
        return name if layer is None or layer[1] not in _OUTSIDE else f"{_OUTSIDE[layer[1]]}.{layer[2]}"
    number, within = block[1], block[2]
    if within == "scale_shift_table":
        return f"blocks.{number}.modulation"
    layer = _OF_A_LAYER.fullmatch(within)
    return name if layer is None else f"blocks.{number}.{_within_block(layer[1])}.{layer[2]}"


def _within_block(name: str) -> str:
    whole = {"ffn.net.0.proj": "ffn.0", "ffn.net.2": "ffn.2", "norm2": "norm3"}
    attention, _, layer = name.partition(".")
    if attention in _ATTENTION and layer in _INSIDE:
        return f"{_ATTENTION[attention]}.{_INSIDE[layer]}"
    return whole.get(name, name)
