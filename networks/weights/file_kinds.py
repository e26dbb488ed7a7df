"""Tell which model a file holds, by the names and shapes in its header.

The tensors asked for are those by which ComfyUI itself tells the models apart (comfy/model_detection.py, comfy/sd.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ....networks.weights.lora_keys import split_key
from ....networks.weights.wan22_base import Expert, expert_of
from ....networks.weights.wan_kinds import IN_CHANNELS, WAN21_I2V, WAN22_I2V
from .weights import Entry, Header

VAE = "Wan 2.1's VAE"
TEXT_ENCODER = "umt5-xxl"
IMAGE_ENCODER = "CLIP ViT-H's image encoder"
LORA = "a LoRA for Wan"

_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.", "model.")

# A tensor that only one of Wan's relatives has, in the order in which ComfyUI asks.
_RELATIVES = {
    "vace_patch_embedding.weight": "Wan VACE",
    "control_adapter.conv.weight": "Wan Fun Camera",
    "casual_audio_encoder.encoder.final_linear.weight": "Wan 2.2 S2V (speech to video)",
    "audio_proj.audio_proj_glob_1.layer.bias": "Wan HuMo",
    "face_adapter.fuser_blocks.0.k_norm.weight": "Wan 2.2 Animate",
}

_VIT_H_WIDTH = 1280
_T5_XXL_WIDTH = 4096


def kind_of(header: Header) -> str | None:
    """Return a model's name, for people; None if it is none that this pack has to do with."""
    tensors = header.tensors
    return _wan(tensors) or _vae(tensors) or _text_encoder(tensors) or _image_encoder(tensors) or _lora(tensors)


def wan_prefix(tensors: Mapping[str, Entry]) -> str | None:
    """Return what stands before the names of a Wan transformer's tensors; None if there is none."""
    return next((prefix for prefix in _PREFIXES if f"{prefix}head.modulation" in tensors), None)


def wan_size(tensors: Mapping[str, Entry]) -> tuple[int, int] | None:
    """Return width and number of blocks of a Wan transformer; None if there is none."""
    prefix = wan_prefix(tensors)
    if prefix is None:
        return None
    block = re.compile(re.escape(prefix) + r"blocks\.(\d+)\.")
    blocks = {match[1] for match in map(block.match, tensors) if match}
    return tensors[f"{prefix}head.modulation"].shape[-1], len(blocks)


def is_high_noise(path: Path) -> bool:
    """Whether a file holds Wan 2.2's high-noise expert, by its name: nothing else in it tells."""
    return expert_of(path.name) is Expert.HIGH_NOISE


def _wan(tensors: Mapping[str, Entry]) -> str | None:
    prefix = wan_prefix(tensors)
    patches = None if prefix is None else tensors.get(f"{prefix}patch_embedding.weight")
    if patches is None or len(patches.shape) < 2:
        return None
    names = {name.removeprefix(prefix or "") for name in tensors}
    for name, relative in _RELATIVES.items():
        if name in names:
            return relative
    channels, has_clip = patches.shape[1], "img_emb.proj.0.bias" in names
    if channels == 16:
        return "a Wan text-to-video model (16 input channels, not 36)"
    if channels == 48 and not has_clip:
        return "Wan 2.2 TI2V 5B (48 input channels, not 36)"
    if channels != IN_CHANNELS:
        return f"a Wan Fun Control model ({channels} input channels, not {IN_CHANNELS})"
    if "ref_conv.weight" in names:
        return "a Wan Fun model with a reference image"
    if not has_clip:
        return WAN22_I2V
    return "Wan 2.1 FLF2V (first and last frame)" if "img_emb.emb_pos" in names else WAN21_I2V


def _vae(tensors: Mapping[str, Entry]) -> str | None:
    if "decoder.middle.0.residual.0.gamma" in tensors:
        is_22 = "decoder.upsamples.0.upsamples.0.residual.2.weight" in tensors
        return "Wan 2.2's VAE (for the 5B model)" if is_22 else VAE
    return "a VAE of another model" if any(name.startswith("decoder.") for name in tensors) else None


def _text_encoder(tensors: Mapping[str, Entry]) -> str | None:
    # Blocks without a relative bias of their own are T5's; umt5 has one in each.
    if "encoder.block.23.layer.1.DenseReluDense.wi_1.weight" in tensors:
        is_xxl = tensors["encoder.block.23.layer.1.DenseReluDense.wi_1.weight"].shape[-1:] == (_T5_XXL_WIDTH,)
        is_umt5 = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" in tensors
        return TEXT_ENCODER if is_xxl and is_umt5 else "a T5 that Wan was not trained with"
    if "token_embedding.weight" in tensors and "blocks.0.attn.q.weight" in tensors:
        return "umt5-xxl in Wan's own layout, which ComfyUI's Load CLIP does not read"
    return "CLIP's text encoder" if "text_model.encoder.layers.0.mlp.fc1.weight" in tensors else None


def _image_encoder(tensors: Mapping[str, Entry]) -> str | None:
    for name in ("vision_model.embeddings.class_embedding", "visual.class_embedding"):
        if name in tensors:
            width = tensors[name].shape[-1]
            return IMAGE_ENCODER if width == _VIT_H_WIDTH else f"another CLIP image encoder (width {width}, not 1280)"
    return None


def _lora(tensors: Mapping[str, Entry]) -> str | None:
    return LORA if any(split_key(name) is not None for name in tensors) else None
