"""Random queries, keys, values and directions, and the float64 oracle that every back end is held against."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from exo2ego.attention.backends.reference import dense_attention, dense_bias
from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.guided_attention import gga_attention
from exo2ego.attention.layout import TokenLayout

HEADS = 2

# Several frames, one frame, frames of one row, odd lengths beyond a block of the kernel.
LAYOUTS = [
    TokenLayout(3, 4, 5, 4),
    TokenLayout(1, 2, 1, 3),
    TokenLayout(5, 3, 2, 1),
    TokenLayout(1, 9, 11, 9),
    TokenLayout(3, 7, 11, 9),
]
BIASES = [
    GGABias(),
    GGABias(GGAForm.RELEASE, 1.0),
    GGABias(GGAForm.RELEASE, 0.5),
    GGABias(GGAForm.PAPER, 2.0),
    GGABias(GGAForm.PAPER, 0.3),
]


def random_directions(layout: TokenLayout, seed: int = 0) -> TokenDirections:
    random = torch.Generator().manual_seed(seed)
    t, rows = layout.frames, layout.rows
    queries = torch.randn(t, rows, layout.ego_columns, 3, generator=random)
    keys = torch.randn(t, t, rows, layout.exo_columns, 3, generator=random)
    return TokenDirections(normalize(queries, dim=-1), normalize(keys, dim=-1) * 0.8)


def with_missing(directions: TokenDirections) -> TokenDirections:
    """Zero, NaN and infinite directions among the others, and a pair that looks opposite ways."""
    queries, keys = directions.ego_queries.clone(), directions.exo_keys.clone()
    queries[0, 0, 0] = 0.0
    queries[-1, -1, -1] = float("nan")
    keys[0, :, 0, 0] = 0.0
    keys[-1, -1, -1, -1] = float("inf")
    keys[0, 0, -1, 0] = -queries[0, 1, 0]
    return TokenDirections(queries, keys)


def random_qkv(
    layout: TokenLayout, batch: int, dtype: torch.dtype = torch.float32, head_dim: int = 8, seed: int = 1
) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    shape = batch, layout.n_tokens, HEADS * head_dim
    return [torch.randn(shape, generator=random).to(dtype) for _ in range(3)]


def oracle(q: Tensor, k: Tensor, v: Tensor, layout: TokenLayout, directions: TokenDirections, bias: GGABias) -> Tensor:
    """Dense attention with the dense bias in float64."""
    exact = TokenDirections(directions.ego_queries.double(), directions.exo_keys.double())
    return dense_attention(q.double(), k.double(), v.double(), HEADS, dense_bias(layout, exact, bias))


def plain(q: Tensor, k: Tensor, v: Tensor, heads: int = HEADS) -> Tensor:
    return dense_attention(q, k, v, heads)


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest error against the largest value."""
    got, expected = got.detach(), expected.detach()
    return float((got.double() - expected).abs().max() / expected.abs().max())


def plain_sdpa(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Plain attention as ComfyUI's own on PyTorch."""
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [B, heads, L, d]
    return scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def kept_under_checkpointing(layout: TokenLayout, backend: str, dtype: torch.dtype = torch.float32) -> int:
    """How many of q, k and v still live after the forward pass of a checkpointed block; its gradients are asked for."""
    made: list[weakref.ref[Tensor]] = []
    directions = random_directions(layout)

    def block(x: Tensor) -> Tensor:
        q, k, v = (x * factor for factor in (0.7, 1.1, 1.3))
        made.extend(weakref.ref(part) for part in (q, k, v))
        return gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, GGABias()), plain_sdpa, backend)

    x = random_qkv(layout, 1, dtype, head_dim=64)[0].requires_grad_()
    out = checkpoint(block, x, use_reentrant=False)
    kept = sum(reference() is not None for reference in made)
    (with_checkpoint,) = torch.autograd.grad(out.float().square().sum(), x)
    assert len(made) == 6  # the block ran twice
    (without,) = torch.autograd.grad(block(x).float().square().sum(), x)
    assert torch.equal(with_checkpoint, without)
    return kept
