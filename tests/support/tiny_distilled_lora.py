"""A tiny LoRA with the key names of the public step-and-CFG-distilled one for Wan 2.1 I2V 14B 480P.

Beside two factors a layer that file holds differences of biases (`diff_b`), of norms (`diff`) and of each block's
modulation (`diff_m`). ComfyUI's loader takes all but the last kind, which it names in the log.
"""

from __future__ import annotations

import torch

from .tiny_wan import DIM, FFN, LAYERS
from .tiny_weights import Weights

PREFIX = "diffusion_model."


def distilled_lora_state_dict(*, seed: int = 7, rank: int = 4, layers: int = LAYERS) -> dict[str, torch.Tensor]:
    """Return updates that are about a third of the weights, so that a LoRA that is not applied shows."""
    weights = Weights(seed)
    attention = [f"{kind}.{layer}" for kind in ("self_attn", "cross_attn") for layer in ("q", "k", "v", "o")]
    sizes = {name: (DIM, DIM) for name in (*attention, "cross_attn.k_img", "cross_attn.v_img")}
    sizes |= {"ffn.0": (FFN, DIM), "ffn.2": (DIM, FFN)}
    for index in range(layers):
        block = f"{PREFIX}blocks.{index}"
        for name, (outputs, inputs) in sizes.items():
            weights.normal(f"{block}.{name}.lora_down.weight", rank, inputs, std=inputs**-0.5)
            weights.normal(f"{block}.{name}.lora_up.weight", outputs, rank, std=0.3 * rank**-0.5)
            weights.normal(f"{block}.{name}.diff_b", outputs, std=0.1)
        for norm in ("norm_q", "norm_k"):
            weights.normal(f"{block}.self_attn.{norm}.diff", DIM, std=0.1)
        weights.normal(f"{block}.diff_m", 1, 6, DIM, std=0.1)
    return weights.tensors


def with_distilled_lora(weights: dict[str, torch.Tensor], lora: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a Wan's weights with the LoRA added by hand, its `diff_m` left out as ComfyUI does."""
    merged = dict(weights)
    for key, value in lora.items():
        layer, _, kind = key.removeprefix(PREFIX).partition(".lora_")
        if kind == "down.weight":
            name, update = f"{layer}.weight", lora[f"{PREFIX}{layer}.lora_up.weight"] @ value
        elif layer.endswith(".diff_b"):
            name, update = f"{layer.removesuffix('.diff_b')}.bias", value
        elif layer.endswith(".diff"):
            name, update = f"{layer.removesuffix('.diff')}.weight", value
        else:
            continue
        merged[name] = merged[name] + update
    return merged
