"""Float8 files of ComfyUI's: weights in e4m3, plain or each with a scale, and what such files hold beside them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .quantised import FLOAT8, Fp8Linear

# Of a layer: ComfyUI's spellings until and since 0.3.69. Scales of activations and a layer's format say nothing of the
# weight itself.
_SCALES = ("scale_weight", "weight_scale")
_BESIDE = ("scale_input", "input_scale", "comfy_quant")
_MARKER = "scaled_fp8"


def split_scaled(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a transformer's tensors without what float8 files add, and the scales of those in e4m3, by name.

    A weight in e4m3 without a scale, as plain float8 files have it, has the scale 1.
    """
    plain, scales = {}, {}
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        if last in _SCALES:
            scales[f"{layer}.weight"] = tensor.float().reshape(-1, 1)
        elif last not in _BESIDE and name != _MARKER:
            plain[name] = tensor
    found = {name: scales.get(name, torch.ones(1, 1)) for name, tensor in plain.items() if tensor.dtype == FLOAT8}
    return plain, found


def whole(stored: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a float8 tensor in full."""
    return (stored.float() * scale.view(-1, *[1] * (stored.ndim - 1))).to(dtype)


def keep_stored(network: nn.Module, layer: str, scale: Tensor, dtype: torch.dtype) -> None:
    """Let a linear layer of a network, which has its weight in float8, keep it so; computed in `dtype`."""
    parent, _, last = layer.rpartition(".")
    owner = network.get_submodule(parent)
    old = owner.get_submodule(last)
    stored = old.weight.detach()
    setattr(owner, last, Fp8Linear(stored, scale, old.bias, tuple(stored.shape), dtype))
