"""The tiny Wan as artists load it: in the types of ComfyUI's own loaders, and as other packs quantise it.

`stored` gives each weight as the base holds it, in float32, written out here without ComfyUI: what a witness runs with.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import torch
from torch import Tensor

from .core_features import skip_without
from .tiny_wan import wan_state_dict

FLOAT8 = torch.float8_e4m3fn
LARGEST_FLOAT8 = 448.0

FLOAT_BASES = ("fp32", "fp16", "bf16")
# fp8_scaled: `scale_weight`, as Comfy-Org's files until 2025. fp8_quantised: `weight_scale` and a header that lists
# the layers, as since.
QUANTISED_BASES = ("fp8", "fp8_scaled", "fp8_quantised", "int8", "gguf")


def load_base(kind: str, weights: dict[str, Tensor] | None = None) -> Any:
    """Return a MODEL of the tiny Wan 2.1 I2V, or of other float32 weights; a new one each time.

    In inference mode, as a loader node runs.
    """
    with torch.inference_mode():
        return _loaded(kind, weights)


def _loaded(kind: str, weights: dict[str, Tensor] | None) -> Any:
    import comfy.sd

    weights = wan_state_dict() if weights is None else weights
    options: dict[str, Any] = {}
    metadata = None
    if kind in ("fp16", "bf16", "fp8"):
        options["dtype"] = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8": FLOAT8}[kind]
    elif kind == "fp8_scaled":
        weights = {"scaled_fp8": torch.empty(0, dtype=FLOAT8), **_scaled(weights, "scale_weight")}
    elif kind == "fp8_quantised":
        names = [name.removesuffix(".weight") for name in weights if _is_linear(weights, name)]
        layers = {name: {"format": "float8_e4m3fn"} for name in names}
        metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
        weights = _scaled(weights, "weight_scale")
    elif kind == "int8":
        from .standin_nodes.quantised_ops import Int8Ops

        options["custom_operations"] = Int8Ops
    elif kind == "gguf":
        from .standin_nodes.quantised_ops import load_gguf

        return load_gguf(dict(weights))
    if metadata is None:
        return comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options=options)
    load = comfy.sd.load_diffusion_model_state_dict
    skip_without("metadata" in inspect.signature(load).parameters, "quantised tensors that a file's header tells of")
    return load(dict(weights), model_options=options, metadata=metadata)


def stored(kind: str, weights: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the weights that a base of this kind holds, in float32."""
    weights = wan_state_dict() if weights is None else weights
    return {name: _stored(kind, weights, name) for name in weights}


def _stored(kind: str, weights: dict[str, Tensor], name: str) -> Tensor:
    value = weights[name]
    if kind == "fp8":
        # Wan keeps its patch embedding in float32.
        return value if name.startswith("patch_embedding") else value.to(FLOAT8).float()
    if kind in ("fp8_scaled", "fp8_quantised") and _is_linear(weights, name):
        return (value / _scale(value)).to(FLOAT8).float() * _scale(value)
    if kind == "fp8_scaled" and _rounds_biases() and _is_linear(weights, f"{name.removesuffix('bias')}weight"):
        return value.to(FLOAT8).float()
    if kind == "int8" and _is_linear(weights, name):
        scale = value.abs().amax(dim=1, keepdim=True) / 127
        return (value / scale).round() * scale
    if kind == "gguf" and _is_linear(weights, name):
        groups = value.reshape(-1, 32)
        scale = groups.abs().amax(dim=1, keepdim=True) / 127
        return ((groups / scale.half().float()).round() * scale.half().float()).reshape(value.shape)
    return value


def _rounds_biases() -> bool:
    """Whether ComfyUI keeps the biases of a fp8_scaled file in float8; newer versions read it as fp8_quantised."""
    import comfy.utils

    return not hasattr(comfy.utils, "convert_old_quants")


def _is_linear(weights: dict[str, Tensor], name: str) -> bool:
    return name.endswith(".weight") and name in weights and weights[name].ndim == 2


def _scale(weight: Tensor) -> Tensor:
    return weight.abs().max() / LARGEST_FLOAT8


def _scaled(weights: dict[str, Tensor], scale_name: str) -> dict[str, Tensor]:
    """All linear layers in float8, each with a scale that makes its largest weight just fit."""
    scaled = {}
    for name, value in weights.items():
        if _is_linear(weights, name):
            scaled[name] = (value / _scale(value)).to(FLOAT8)
            scaled[f"{name.removesuffix('weight')}{scale_name}"] = _scale(value)
        else:
            scaled[name] = value
    return scaled
