"""GGA on torch's scaled_dot_product_attention, one latent frame of ego queries at a time.

The bias of one frame is [ego tokens of the frame, n_tokens]: at EgoX's size 784 x 28,028, or 44 MB in bfloat16, where
the whole one would take 1.6 GB. Nothing of the size n_tokens x n_tokens is ever made.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .bias import GGABias
from .directions import TokenDirections
from .layout import TokenLayout


def biased_ego_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, layout: TokenLayout, directions: TokenDirections, bias: GGABias
) -> Tensor:
    """Return the attention of the ego queries to all keys.

    Args:
        q: queries [B, n_tokens, heads * d].
        k: keys, of the same shape.
        v: values, of the same shape.
        heads: number of heads.
        layout: order of the tokens.
        directions: on the device of `q`.
        bias: which bias to add to the logits of ego queries and exo keys.

    Returns:
        [B, frames, rows, ego_columns, heads * d].
    """
    key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (k, v))  # [B, heads, n_tokens, d]
    ego = layout.as_grid(q)[:, :, :, layout.exo_columns :]  # [B, T, rows, ego_columns, heads * d]
    out = torch.empty_like(ego, memory_format=torch.contiguous_format)
    for frame in range(layout.frames):
        query = ego[:, frame].flatten(1, 2).unflatten(2, (heads, -1)).transpose(1, 2)  # [B, heads, Q, d]
        mask = _frame_bias(frame, layout, directions, bias, q.dtype)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out[:, frame] = attended.transpose(1, 2).flatten(2).unflatten(1, (layout.rows, layout.ego_columns))
    return out


def _frame_bias(
    frame: int, layout: TokenLayout, directions: TokenDirections, bias: GGABias, dtype: torch.dtype
) -> Tensor:
    """Return the bias of one frame's ego queries to all keys, [ego tokens of the frame, n_tokens]."""
    pairs = bias(directions.ego_queries[frame].flatten(0, 1), directions.exo_keys[frame].flatten(0, 2))
    mask = torch.zeros(layout.ego_tokens_per_frame, layout.n_tokens, dtype=dtype, device=pairs.device)
    exo_keys = layout.as_grid(mask)[:, :, :, : layout.exo_columns]  # a view
    exo_keys.copy_(pairs.view(exo_keys.shape))
    return mask
