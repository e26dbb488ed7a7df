"""Names of a Wan transformer's weights: diffusers' beside ComfyUI's, which are those of Wan's own release.

The pairs are those of diffusers' own conversion (scripts/convert_wan_to_diffusers.py, Apache-2.0), read backwards.
"""

from __future__ import annotations

import re

_OUTSIDE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
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


def from_diffusers(name: str) -> str:
    """Return a weight's name in ComfyUI's Wan; names that diffusers' Wan does not have stay as they are."""
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
