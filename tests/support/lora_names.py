"""One LoRA in the names of every trainer, written out from what their files hold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WAN = {"attn1": "self_attn", "attn2": "cross_attn", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}


def in_comfyui_names(key: str) -> str:
    """`diffusion_model.blocks.0.self_attn.q.lora_A.weight` of diffusers' `transformer.blocks.0.attn1.to_q. ...`."""
    for theirs, ours in _WAN.items():
        key = key.replace(f".{theirs}.", f".{ours}.")
    return key.replace("transformer.", "diffusion_model.")


def _diffsynth(key: str) -> str:
    key = in_comfyui_names(key).removeprefix("diffusion_model.")
    return key.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default.")


def _musubi(key: str) -> str:
    layer, factor = in_comfyui_names(key).removeprefix("diffusion_model.").split(".lora_")
    return f"lora_unet_{layer.replace('.', '_')}.lora_{'down' if factor.startswith('A') else 'up'}.weight"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "diffusers": lambda key: key,
    "musubi": _musubi,
    "comfyui": in_comfyui_names,
    "diffsynth": _diffsynth,
    "peft": lambda key: "base_model.model." + in_comfyui_names(key).removeprefix("diffusion_model."),
}


def spelled(tensors: dict[str, Tensor], spelling: str, alpha: float) -> dict[str, Tensor]:
    """Return a LoRA of diffusers' names (scale 1) in another spelling, at the scale alpha / rank.

    musubi and ComfyUI store alpha beside the factors; the others do not, and there the scale is put into `lora_B`.
    """
    rename = SPELLINGS[spelling]
    stores_alpha = spelling in ("musubi", "comfyui")
    named = {}
    for key, value in tensors.items():
        rank = value.shape[0 if "lora_A" in key else 1]
        scale = 1.0 if stores_alpha or "lora_A" in key else alpha / rank
        named[rename(key)] = value * scale
        if stores_alpha and "lora_A" in key:
            named[f"{rename(key).rsplit('.lora_', 1)[0]}.alpha"] = torch.tensor(alpha)
    return named
