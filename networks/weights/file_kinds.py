"""Tell which model a file holds, by the names and shapes in its header.

The tensors asked for are those by which ComfyUI itself tells the models apart (comfy/model_detection.py, comfy/sd.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from .headers import Entry, Header
from .lora_keys import split_key
from .wan_kinds import wan_kind

VAE = "Wan 2.1's VAE"
TEXT_ENCODER = "umt5-xxl"
IMAGE_ENCODER = "CLIP ViT-H's image encoder"
LORA = "a LoRA for Wan"

_VIT_H_WIDTH = 1280
_T5_XXL_WIDTH = 4096


def kind_of(header: Header) -> str | None:
    """Return a model's name, for people; None if it is none that this pack has to do with."""
    tensors = header.tensors
    return wan_kind(tensors) or _vae(tensors) or _text_encoder(tensors) or _image_encoder(tensors) or _lora(tensors)


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
            width = (tensors[name].shape or (0,))[-1]
            return IMAGE_ENCODER if width == _VIT_H_WIDTH else f"another CLIP image encoder (width {width}, not 1280)"
    return None


def _lora(tensors: Mapping[str, Entry]) -> str | None:
    return LORA if any(split_key(name) is not None for name in tensors) else None
