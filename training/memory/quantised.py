"""Frozen linear layers in 8 or 4 bits: stored small, computed in the type of what they are given.

fp8 is e4m3 with a scale for every row of the weight, its largest number over 448 (or the scale that a file states); nf4
is that of QLoRA (Dettmers et al. 2023), with a scale for every 64 numbers, by bitsandbytes. Gradients go through these
layers to what comes before, and the weight in full is made anew for that: what is kept for the backward pass is small.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from .settings import FP8, NF4, QUANTISED

FLOAT8 = torch.float8_e4m3fn
_NF4_GROUP = 64  # numbers that share a scale
_MISSING_BITSANDBYTES = (
    '[memory] base = "nf4" is computed by bitsandbytes, which is not installed: pip install bitsandbytes, or take '
    'base = "fp8", which needs nothing.'
)


class QuantisedLinear(nn.Linear):
    """A frozen linear layer.

    Args:
        stored: the weight in few bits.
        scale: of its rows or groups, float32.
        bias: [out], or None.
        shape: of the weight, [out, in].
        dtype: of the weight in full, where nobody asks for another.
    """

    def __init__(
        self, stored: Tensor, scale: Tensor, bias: Tensor | None, shape: tuple[int, int], dtype: torch.dtype
    ) -> None:
        nn.Module.__init__(self)  # torch's own layer would make a weight in full
        self.out_features, self.in_features = shape
        self.dtype = dtype
        self.stored = nn.Parameter(stored, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    @property
    def weight(self) -> Tensor:  # ty: ignore[invalid-attribute-override]
        """The weight in full [out, in], made anew: what measures a LoRA against it asks for that."""
        return self.in_full(self.stored, self.scale, (self.out_features, self.in_features), self.dtype)

    @staticmethod
    @abstractmethod
    def in_full(stored: Tensor, scale: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return the weight [out, in] that is stored."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] for [..., in], in the input's type, or autocast's where that acts."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        return _FrozenProduct.apply(x.to(dtype), self.stored, self.scale, self.bias, self)


class Fp8Linear(QuantisedLinear):
    """Weights in e4m3 [out, in], with a scale [out, 1] or one for all [1, 1]."""

    @classmethod
    def of(cls, layer: nn.Linear) -> Fp8Linear:
        """Quantise a layer."""
        weight = layer.weight.detach()
        largest = weight.abs().amax(dim=1, keepdim=True).float()
        scale = torch.where(largest > 0, largest / torch.finfo(FLOAT8).max, 1.0)  # [out, 1]
        return cls((weight / scale).to(FLOAT8), scale, layer.bias, tuple(weight.shape), weight.dtype)

    @staticmethod
    def in_full(stored: Tensor, scale: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return the weight [out, in]; the product is rounded once."""
        return stored.to(dtype).mul_(scale)


class Nf4Linear(QuantisedLinear):
    """Weights in NF4, two in a byte [out * in / 2, 1], with scales [out * in / 64]."""

    @classmethod
    def of(cls, layer: nn.Linear) -> Nf4Linear:
        """Quantise a layer.

        Raises:
            ValueError: if bitsandbytes is not installed.
        """
        weight = layer.weight.detach()
        stored, state = _bitsandbytes().quantize_4bit(weight.contiguous(), blocksize=_NF4_GROUP, quant_type="nf4")
        return cls(stored, state.absmax, layer.bias, tuple(weight.shape), weight.dtype)

    @staticmethod
    def in_full(stored: Tensor, scale: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return the weight [out, in]."""
        library = _bitsandbytes()
        state = library.QuantState(scale, torch.Size(shape), blocksize=_NF4_GROUP, quant_type="nf4", dtype=dtype)
        return library.dequantize_4bit(stored, state)


LAYERS: dict[str, type[Fp8Linear | Nf4Linear]] = {FP8: Fp8Linear, NF4: Nf4Linear}


def is_quantised(layer: str, spared: str = "") -> bool:
    """Whether a linear layer, by its name, is one of those that are quantised: within a block, and not spared."""
    return "blocks." in layer and not (spared and spared in layer)


def quantise(network: nn.Module, base: str, spared: str = "") -> None:
    """Quantise the linear layers of a transformer's blocks in place, where `base` says fp8 or nf4.

    One layer after the other: little more than the result is in memory. What is quantised already stays as it is, and
    so do layers with `spared` in their name.

    Raises:
        ValueError: if nf4's library is not installed.
    """
    if base not in QUANTISED:
        return
    linear_layers = [name for name, module in network.named_modules() if type(module) is nn.Linear]
    for name in linear_layers:
        if is_quantised(name, spared):
            parent, _, last = name.rpartition(".")
            owner = network.get_submodule(parent)
            setattr(owner, last, LAYERS[base].of(owner.get_submodule(last)))  # ty: ignore[invalid-argument-type]


def stored_bytes(shape: tuple[int, int], base: str) -> int:
    """Return what the weight of a quantised layer takes."""
    n_out, n_in = shape
    return n_out * n_in + 4 * n_out if base == FP8 else n_out * n_in // 2 + 4 * (n_out * n_in // _NF4_GROUP)


class _FrozenProduct(torch.autograd.Function):
    """x W^T + b, W made of what is stored in either pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stored: Tensor, scale: Tensor, bias: Tensor | None, layer: QuantisedLinear
    ) -> Tensor:
        ctx.save_for_backward(stored, scale)
        ctx.layer, ctx.shape = type(layer), (layer.out_features, layer.in_features)
        weight = layer.in_full(stored, scale, ctx.shape, x.dtype)
        return linear(x, weight, None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        stored, scale = ctx.saved_tensors
        return gradient @ ctx.layer.in_full(stored, scale, ctx.shape, gradient.dtype), None, None, None, None


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes.functional
    except ModuleNotFoundError as error:
        raise ValueError(_MISSING_BITSANDBYTES) from error
    return bitsandbytes.functional
