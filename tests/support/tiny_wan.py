"""Tiny Wan transformers, and an EgoX LoRA for them, in the key formats of the released files.

ComfyUI reads the architecture from the tensors: `dim // 128` heads, any feed-forward width and depth. The widths of
text (4096), CLIP features (1280) and the time embedding (256) are fixed.
"""

from __future__ import annotations

import torch

from .tiny_weights import Weights

TEXT_WIDTH = 4096
TEXT_TOKENS = 512
CLIP_WIDTH = 1280
TIME_WIDTH = 256
LATENT_CHANNELS = 16

DIM = 256
FFN = 64
LAYERS = 2

IN_CHANNELS = {
    "i2v": 36,  # Wan 2.1 I2V: 16 latent | 4 mask | 16 condition
    "t2v": 16,
    "i2v_2.2": 36,  # Wan 2.2 I2V A14B: no CLIP features
    "fun_control": 48,
    "vace": 16,
    "camera": 32,
    "flf2v": 36,
}
KINDS_WITH_CLIP = ("i2v", "fun_control", "camera", "flf2v")


def wan_state_dict(
    kind: str = "i2v", *, seed: int = 0, dim: int = DIM, ffn: int = FFN, layers: int = LAYERS
) -> dict[str, torch.Tensor]:
    """Return the float32 weights of a tiny Wan; `kind` is a key of `IN_CHANNELS`."""
    weights = Weights(seed)
    clip = kind in KINDS_WITH_CLIP
    weights.linear("patch_embedding", dim, IN_CHANNELS[kind], 1, 2, 2)
    weights.linear("text_embedding.0", dim, TEXT_WIDTH)
    weights.linear("text_embedding.2", dim, dim)
    weights.linear("time_embedding.0", dim, TIME_WIDTH)
    weights.linear("time_embedding.2", dim, dim)
    weights.linear("time_projection.1", 6 * dim, dim)
    for index in range(layers):
        _block(weights, f"blocks.{index}", dim, ffn, clip)
    weights.normal("head.modulation", 1, 2, dim, std=dim**-0.5)
    weights.linear("head.head", 4 * LATENT_CHANNELS, dim)
    if clip:
        _clip_projection(weights, dim)
    if kind == "vace":
        _vace(weights, dim, ffn)
    if kind == "camera":
        _camera(weights, dim)
    if kind == "flf2v":
        weights.normal("img_emb.emb_pos", 1, 2 * 257, CLIP_WIDTH, std=0.02)
    return weights.tensors


def _block(weights: Weights, name: str, dim: int, ffn: int, clip: bool) -> None:
    for attention in ("self_attn", "cross_attn"):
        for layer in ("q", "k", "v", "o"):
            weights.linear(f"{name}.{attention}.{layer}", dim, dim)
        weights.scale(f"{name}.{attention}.norm_q.weight", dim)
        weights.scale(f"{name}.{attention}.norm_k.weight", dim)
    if clip:
        weights.linear(f"{name}.cross_attn.k_img", dim, dim)
        weights.linear(f"{name}.cross_attn.v_img", dim, dim)
        weights.scale(f"{name}.cross_attn.norm_k_img.weight", dim)
    weights.layer_norm(f"{name}.norm3", dim)
    weights.linear(f"{name}.ffn.0", ffn, dim)
    weights.linear(f"{name}.ffn.2", dim, ffn)
    weights.normal(f"{name}.modulation", 1, 6, dim, std=dim**-0.5)


def _clip_projection(weights: Weights, dim: int) -> None:
    weights.layer_norm("img_emb.proj.0", CLIP_WIDTH)
    weights.linear("img_emb.proj.1", CLIP_WIDTH, CLIP_WIDTH)
    weights.linear("img_emb.proj.3", dim, CLIP_WIDTH)
    weights.layer_norm("img_emb.proj.4", dim)


def _vace(weights: Weights, dim: int, ffn: int) -> None:
    weights.linear("vace_patch_embedding", dim, 96, 1, 2, 2)
    _block(weights, "vace_blocks.0", dim, ffn, clip=False)
    weights.linear("vace_blocks.0.before_proj", dim, dim)
    weights.linear("vace_blocks.0.after_proj", dim, dim)


def _camera(weights: Weights, dim: int) -> None:
    weights.linear("control_adapter.conv", dim, 24 * 64, 2, 2)
    weights.linear("control_adapter.residual_blocks.0.conv1", dim, dim, 3, 3)
    weights.linear("control_adapter.residual_blocks.0.conv2", dim, dim, 3, 3)


def egox_lora_state_dict(
    *, seed: int = 1, rank: int = 4, dim: int = DIM, layers: int = LAYERS, prefix: str = "transformer."
) -> dict[str, torch.Tensor]:
    """Return a LoRA with the keys of the released one: diffusers' names on attn1 and attn2, no alpha.

    The update is about as large as the weight itself, so that a LoRA that is not applied shows. The values are those
    that bfloat16 holds exactly, in float32: what reading makes of them.
    """
    weights = Weights(seed)
    for index in range(layers):
        for attention in ("attn1", "attn2"):
            for layer in ("to_q", "to_k", "to_v", "to_out.0"):
                name = f"{prefix}blocks.{index}.{attention}.{layer}"
                weights.normal(f"{name}.lora_A.weight", rank, dim, std=dim**-0.5)
                weights.normal(f"{name}.lora_B.weight", dim, rank, std=rank**-0.5)
    return {name: value.bfloat16().float() for name, value in weights.tensors.items()}


def text_conditioning(seed: int = 2) -> list[list]:
    """Return a CONDITIONING like the one stock CLIPTextEncode makes: `[[tensor [1, 512, 4096], {}]]`."""
    random = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, generator=random), {"pooled_output": None}]]
