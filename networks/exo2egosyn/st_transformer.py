"""The spatial-temporal transformer that EgoExo-Align is built on (the paper's section 3.3 and table 7).

Exo2EgoSyn takes STTransformer as implemented by Savov et al., "Exploration-Driven Generative Interactive Environments"
(after Genie, Bruce et al. 2024), non-causal, with the exo views in the place of time. Every block mixes first within
each view, then across the views at each position; both halves are alike:

    x = x + PEG(x)      depthwise 3 x 3 x 3 convolution over (view, row, column), zero padding: not causal
    x = x + Attn(x)     L2-normalised queries and keys; keys and values from the un-normalised x
    x = x + FF(x)       GEGLU

Parameters, all without the context gains of the cited code, which never get a gradient:

    blocks.{i}.{spatial,temporal}.peg.{weight,bias}
    blocks.{i}.{spatial,temporal}.attn.{norm,to_q,to_kv,to_out}.weight, .attn.{q_scale,k_scale}
    blocks.{i}.{spatial,temporal}.ff.norm.{weight,bias}, .ff.{w_in,w_out}.weight
    norm_out.weight
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, normalize, scaled_dot_product_attention

from ...common.cancel import cancel_point

# Factor on the logits of unit queries and keys; fixed in the cited code.
_LOGIT_SCALE = 8.0


@dataclass(frozen=True)
class STConfig:
    """Sizes of the transformer; the defaults are the paper's (table 7).

    Attributes:
        dim: width of a token.
        heads, dim_head: attention heads, and the width of one.
        num_blocks: blocks of a spatial and a temporal half.
        ff_mult: width of the feed-forward layers relative to `dim`, before GEGLU's factor 2/3.
    """

    dim: int = 512
    heads: int = 8
    dim_head: int = 64
    num_blocks: int = 8
    ff_mult: float = 4.0

    def __post_init__(self) -> None:
        if min(self.dim, self.heads, self.dim_head, self.num_blocks, self.ff_inner) < 1:
            raise ValueError(f"Every size of the transformer must be at least 1, got {self}.")

    @property
    def ff_inner(self) -> int:
        """Inner width of GEGLU: 2/3 of `ff_mult * dim`, rounded down (1365 at 512)."""
        return int(self.dim * self.ff_mult * 2 / 3)


class LayerNorm(nn.Module):
    """LayerNorm that works in float32 whatever the input's type, with or without a shift."""

    def __init__(self, dim: int, bias: bool, device: Any = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(dim, device=device, dtype=dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        wide = x.to(_at_least_float32(x))
        bias = None if self.bias is None else self.bias.to(wide)
        return layer_norm(wide, self.weight.shape, self.weight.to(wide), bias).to(x.dtype)


class Attention(nn.Module):
    """Self-attention with L2-normalised queries and keys and learned scales for each channel of a head."""

    def __init__(self, config: STConfig, operations: Any, device: Any, dtype: torch.dtype | None) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.norm = LayerNorm(config.dim, bias=False, **factory)
        self.to_q = operations.Linear(config.dim, inner, bias=False, **factory)
        self.to_kv = operations.Linear(config.dim, 2 * inner, bias=False, **factory)
        self.to_out = operations.Linear(inner, config.dim, bias=False, **factory)
        self.q_scale = nn.Parameter(torch.ones(config.dim_head, **factory))
        self.k_scale = nn.Parameter(torch.ones(config.dim_head, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """Let the tokens of each sequence of `x` [N, L, D] attend to each other."""
        # Keys and values come from x itself: so does the cited code.
        q, k, v = self.to_q(self.norm(x)), *self.to_kv(x).chunk(2, dim=-1)
        q, k, v = (rearrange(part, "n l (heads d) -> n heads l d", heads=self.heads) for part in (q, k, v))
        q, k = unit_vectors(q, self.q_scale), unit_vectors(k, self.k_scale)
        out = scaled_dot_product_attention(q, k, v, scale=_LOGIT_SCALE)
        return self.to_out(rearrange(out, "n heads l d -> n l (heads d)"))


class FeedForward(nn.Module):
    """LayerNorm and GEGLU: the first half of `w_in`'s outputs are values, the second half gates."""

    def __init__(self, config: STConfig, operations: Any, device: Any, dtype: torch.dtype | None) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.norm = LayerNorm(config.dim, bias=True, **factory)
        self.w_in = operations.Linear(config.dim, 2 * config.ff_inner, bias=False, **factory)
        self.w_out = operations.Linear(config.ff_inner, config.dim, bias=False, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Map every token of `x` [..., D] by itself."""
        value, gate = self.w_in(self.norm(x)).chunk(2, dim=-1)
        return self.w_out(value * gelu(gate))


class HalfBlock(nn.Module):
    """Position encoding generator, attention and feed-forward; attention within each view or across the views."""

    def __init__(
        self, config: STConfig, across_views: bool, operations: Any, device: Any, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.across_views = across_views
        # The Position Encoding Generator (Chu et al. 2021).
        self.peg = operations.Conv3d(
            config.dim, config.dim, kernel_size=3, padding=1, groups=config.dim, device=device, dtype=dtype
        )
        self.attn = Attention(config, operations, device, dtype)
        self.ff = FeedForward(config, operations, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, V, h, w, D] to tokens of the same shape."""
        x = x + self._positions(x.movedim(-1, 1)).movedim(1, -1)
        sequences = "(b h w) v d" if self.across_views else "(b v) (h w) d"
        sizes = dict(zip("bvhw", x.shape))
        attended = self.attn(rearrange(x, f"b v h w d -> {sequences}"))
        x = x + rearrange(attended, f"{sequences} -> b v h w d", **sizes)
        return x + self.ff(x)

    def _positions(self, x: Tensor) -> Tensor:
        """Return what the PEG makes of [B, D, V, h, w].

        On CPUs it stays out of autocast: there torch's depthwise convolutions leave their weights' gradients in
        bfloat16 partly unwritten, so that some are whatever lay in memory.
        """
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return self.peg(x)
        with torch.autocast("cpu", enabled=False):
            return self.peg(x.to(self.peg.weight.dtype))


class STBlock(nn.Module):
    """A spatial half, then a temporal one, in which the views take the place of time."""

    def __init__(self, config: STConfig, operations: Any, device: Any, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.spatial = HalfBlock(config, False, operations, device, dtype)
        self.temporal = HalfBlock(config, True, operations, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, V, h, w, D] to tokens of the same shape."""
        return self.temporal(self.spatial(x))


class STTransformer(nn.Module):
    """Blocks and a last gain-only LayerNorm: 50,579,968 parameters at the default sizes.

    Args:
        config: sizes.
        operations: where the layers come from: torch.nn, or ComfyUI's operations, which cast the weights to the input's
            type and leave them uninitialised.
        device: where the parameters lie.
        dtype: their type.
    """

    def __init__(
        self, config: STConfig, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(STBlock(config, operations, device, dtype) for _ in range(config.num_blocks))
        self.norm_out = LayerNorm(config.dim, bias=False, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, V, h, w, D] to tokens of the same shape, any number of views and any grid."""
        for block in self.blocks:
            cancel_point()
            x = block(x)
        return self.norm_out(x)


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def unit_vectors(x: Tensor, scale: Tensor) -> Tensor:
    """Bring vectors [..., d] to unit length in float32, then scale each channel by `scale` [d]."""
    wide = x.to(_at_least_float32(x))
    return (normalize(wide, dim=-1) * scale.to(wide)).to(x.dtype)
