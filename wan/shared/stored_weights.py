"""How the weights of a layer are stored: as floating-point numbers, or quantised."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Merged into weights of these types, a LoRA loses no more than one rounding of 0.05 % (fp16) or 0.4 % (bf16).
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# GGUF's types that hold every weight by itself.
_GGUF_FLOATS = ("F32", "F16", "BF16")


def quantised_as(layer: nn.Module) -> str | None:
    """Return how a linear layer's weights are quantised, in a word for people, or None where they are not.

    It reads float8, plain or with a scale in either of ComfyUI's spellings (`scale_weight`, and since 0.3.69
    `weight_scale` within a QuantizedTensor), int8 and other integers of other packs, and ComfyUI-GGUF's tensors.
    """
    weight: Any = layer.weight
    if (gguf_type := getattr(weight, "tensor_type", None)) is not None:
        name = getattr(gguf_type, "name", str(gguf_type))
        return None if name in _GGUF_FLOATS else f"GGUF {name}"
    if type(weight) not in (torch.Tensor, nn.Parameter):  # a QuantizedTensor says the type that it computes in
        stored = getattr(weight, "_qdata", weight)
        return f"scaled {_word(stored.dtype)}" if stored.dtype not in _FLOATS else type(weight).__name__
    if weight.dtype in _FLOATS:
        return None
    has_scale = any(getattr(layer, name, None) is not None for name in ("scale_weight", "weight_scale"))
    return f"scaled {_word(weight.dtype)}" if has_scale else _word(weight.dtype)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.").replace("float8_", "fp8_")
