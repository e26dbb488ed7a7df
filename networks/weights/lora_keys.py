"""Names of LoRA tensors: from what trainers write to the layers of ComfyUI's Wan."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What comes before the layer's name: peft, diffusers, ComfyUI, checkpoints.
_PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.")

# What comes after it, and the factor it names: delta = up @ down.
_FACTORS = {
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora_down.weight": "down",
    ".lora.down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".lora_up.weight": "up",
    ".lora.up.weight": "up",
    ".alpha": "alpha",
}

# diffusers' name within a block -> ComfyUI's, which is the original one.
_DIFFUSERS = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
_COMFYUI = set(_DIFFUSERS.values())

# The one layer beside those of the blocks; it has this name everywhere.
PATCH_EMBEDDING = "patch_embedding"
_KOHYA = {name.replace(".", "_"): name for name in _COMFYUI}

_BLOCK = re.compile(r"blocks\.([0-9]{1,4})\.(.+)")
_KOHYA_BLOCK = re.compile(r"lora_unet_blocks_([0-9]{1,4})_(.+)")


def split_key(key: str) -> tuple[str, str] | None:
    """Return a LoRA key's layer in ComfyUI's Wan and its factor ("down", "up" or "alpha").

    `transformer.blocks.3.attn1.to_q.lora_A.weight` gives `("blocks.3.self_attn.q", "down")`. None if the key is none of
    a LoRA on Wan's transformer blocks or its patch embedding.
    """
    for suffix, factor in _FACTORS.items():
        if key.endswith(suffix):
            layer = _layer(key.removesuffix(suffix))
            return None if layer is None else (layer, factor)
    return None


def layers_of_a_block() -> tuple[str, ...]:
    """Return the layers of a block of Wan that a LoRA may update, such as `self_attn.q`."""
    return tuple(_DIFFUSERS.values())


def in_diffusers(within: str) -> str:
    """Return diffusers' name, within a block, of one of `layers_of_a_block`; the patch embedding keeps its own."""
    return {PATCH_EMBEDDING: PATCH_EMBEDDING, **{ours: theirs for theirs, ours in _DIFFUSERS.items()}}[within]


def block_of(layer: str) -> int | None:
    """Return the block of a layer that `split_key` gave; None for the patch embedding."""
    return None if layer == PATCH_EMBEDDING else int(layer.split(".")[1])


def within_block(layer: str) -> str:
    """Return a layer's name within its block, such as `self_attn.q`; the patch embedding keeps its own."""
    return layer if layer == PATCH_EMBEDDING else layer.split(".", 2)[2]


def blocks_of(layers: Iterable[str]) -> set[int]:
    """Return the blocks of layers that `split_key` gave."""
    return {block for layer in layers if (block := block_of(layer)) is not None}


def _layer(name: str) -> str | None:
    if name == f"lora_unet_{PATCH_EMBEDDING}":
        return PATCH_EMBEDDING
    if match := _KOHYA_BLOCK.fullmatch(name):
        within = _KOHYA.get(match[2])
    else:
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        if name == PATCH_EMBEDDING:
            return name
        match = _BLOCK.fullmatch(name)
        if match is None:
            return None
        within = match[2] if match[2] in _COMFYUI else _DIFFUSERS.get(match[2])
    return None if within is None else f"blocks.{match[1]}.{within}"
