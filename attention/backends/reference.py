"""Back end `reference`: dense attention with the dense bias, the oracle. Memory is quadratic in n_tokens."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from ..bias import GGABias
from ..call import AttentionCall
from ..directions import TokenDirections
from ..layout import TokenLayout
from .backend import Backend


def dense_bias(layout: TokenLayout, directions: TokenDirections, bias: GGABias) -> Tensor:
    """Return the bias of every pair of tokens, [n_tokens, n_tokens], zero but for ego queries and exo keys."""
    directions.check(layout)
    dtype = torch.promote_types(directions.exo_keys.dtype, torch.float32)
    full = torch.zeros(layout.n_tokens, layout.n_tokens, dtype=dtype, device=directions.exo_keys.device)
    token = torch.arange(layout.n_tokens, device=full.device)
    frame = token // (layout.rows * layout.columns)
    is_exo = token % layout.columns < layout.exo_columns
    exo = token[is_exo]
    for t in range(layout.frames):
        ego = token[~is_exo & (frame == t)]
        pairs = bias(directions.ego_queries[t].flatten(0, 1), directions.exo_keys[t].flatten(0, 2))
        full[ego.unsqueeze(1), exo] = pairs
    return full


def dense_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v for `[B, L, heads * d]` tensors, computed in float32 at least."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    query, key, value = (rearrange(x.to(dtype), "b n (heads d) -> b heads n d", heads=heads) for x in (q, k, v))
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    out = logits.softmax(dim=-1) @ value
    return rearrange(out, "b heads n d -> b n (heads d)").to(q.dtype)


def attend(call: AttentionCall, out: Tensor) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`; see `Backend`."""
    layout = call.layout
    attended = dense_attention(call.q, call.k, call.v, call.heads, dense_bias(layout, call.directions, call.bias))
    layout.as_grid(out)[:, :, :, layout.exo_columns :] = layout.as_grid(attended)[:, :, :, layout.exo_columns :]


BACKEND = Backend("dense, for small tests only", attend, automatic=False)
