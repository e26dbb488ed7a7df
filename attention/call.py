"""One self-attention over the joined tokens, as every back end gets it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bias import GGABias
from .directions import ExtendedDirections, TokenDirections
from .layout import TokenLayout


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """What self-attention with GGA is computed from.

    Attributes:
        q: queries [B, n_tokens, heads * d], after norm and rotary embedding.
        k: keys, of the same shape.
        v: values, of the same shape.
        heads: number of heads.
        layout: order of the tokens.
        directions: on the device of `q`; one clip, shared by the whole batch.
        bias: which bias to add to the logits of ego queries and exo keys.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    heads: int
    layout: TokenLayout
    directions: TokenDirections
    bias: GGABias

    @property
    def head_dim(self) -> int:
        """Channels of a head, d."""
        return self.q.shape[-1] // self.heads

    @property
    def processors(self) -> int | None:
        """How many processors the GPU has; None on devices that do not work in waves of blocks."""
        if self.q.device.type != "cuda":
            return None
        return torch.cuda.get_device_properties(self.q.device).multi_processor_count

    @property
    def needs_grad(self) -> bool:
        """Whether gradients will be asked for: the call is one of a training."""
        return torch.is_grad_enabled() and any(x.requires_grad for x in (self.q, self.k, self.v))

    @property
    def extended(self) -> ExtendedDirections:
        """The directions with the bias folded in, computed once for all calls of these directions."""
        return self.directions.extended(self.bias)
