"""Keys and values of one block's exo tokens, as they wait for the next step: as they are, or in fp8.

fp8 is e4m3 with a factor for every clip and channel, so that the largest value of a channel is 448. A value's error is
at most 1/16 of itself, or, of small ones, 1/458,752 of the channel's largest value (half of e4m3's smallest step). With
values in bfloat16 the two multiplications add 1/256 of the value.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(FP8).max


class Stored(Protocol):
    """What is kept of tensors of one shape."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...

    def keep(self, values: Tensor) -> None:
        """Take in values [b, ...]."""
        ...

    def write(self, out: Tensor) -> None:
        """Write them into a tensor of the same shape."""
        ...


class AsTheyAre:
    """Keeps tensors as they are.

    Args:
        like: a tensor of the shape, type and device; need not be contiguous.
    """

    def __init__(self, like: Tensor) -> None:
        self._values = torch.empty_like(like, memory_format=torch.contiguous_format)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._values.nbytes

    def keep(self, values: Tensor) -> None:
        """Take in values [b, ...]."""
        self._values.copy_(values)

    def write(self, out: Tensor) -> None:
        """Write them into a tensor of the same shape."""
        out.copy_(self._values)


class InFp8:
    """Keeps tensors [b, ..., channels] in fp8, with a factor for every item of the batch and channel.

    Args:
        like: a tensor of the shape and device; need not be contiguous.
    """

    def __init__(self, like: Tensor) -> None:
        self._values = torch.empty(like.shape, dtype=FP8, device=like.device)
        self._factors = torch.empty(
            like.shape[0], *[1] * (like.ndim - 2), like.shape[-1], dtype=like.dtype, device=like.device
        )

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._values.nbytes + self._factors.nbytes

    def keep(self, values: Tensor) -> None:
        """Take in values [b, ...]."""
        largest = values.abs().amax(dim=tuple(range(1, values.ndim - 1)), keepdim=True).float()
        smallest = float(torch.finfo(values.dtype).tiny)
        self._factors.copy_((largest / _LARGEST).clamp(min=smallest))
        # A factor that was rounded down brings the largest value a little above what e4m3 holds.
        self._values.copy_((values / self._factors).clamp(-_LARGEST, _LARGEST))

    def write(self, out: Tensor) -> None:
        """Write them into a tensor of the same shape."""
        out.copy_(self._values)
        out.mul_(self._factors)
