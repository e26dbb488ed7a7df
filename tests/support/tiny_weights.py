"""Seeded random weights by name: what the tiny models of the tests are made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch


class Weights:
    """A state dict under construction; equal seeds and equal calls give equal tensors."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32):
        self.tensors: dict[str, torch.Tensor] = {}
        self._random = torch.Generator().manual_seed(seed)
        self._dtype = dtype

    def normal(self, name: str, *shape: int, std: float = 1.0) -> None:
        """Add a tensor of normal values."""
        self._add(name, torch.randn(shape, generator=self._random) * std)

    def scale(self, name: str, *shape: int) -> None:
        """Add the scale of a norm: near one, so that a forgotten or swapped norm shows."""
        self._add(name, 1.0 + 0.1 * torch.randn(shape, generator=self._random))

    def linear(self, name: str, out_features: int, in_features: int, *kernel: int, bias: bool = True) -> None:
        """Add a linear layer, or a convolution if `kernel` is given, that keeps the variance of its input."""
        fan_in = in_features
        for size in kernel:
            fan_in *= size
        self.normal(f"{name}.weight", out_features, in_features, *kernel, std=fan_in**-0.5)
        if bias:
            self.normal(f"{name}.bias", out_features, std=0.02)

    def layer_norm(self, name: str, width: int) -> None:
        """Add a LayerNorm with scale and shift."""
        self.scale(f"{name}.weight", width)
        self.normal(f"{name}.bias", width, std=0.02)

    def _add(self, name: str, value: torch.Tensor) -> None:
        if name in self.tensors:
            raise ValueError(f"{name} was added before")
        self.tensors[name] = value.to(self._dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)
