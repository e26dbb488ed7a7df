"""Where GGA's attention is chosen: back ends for biased ego queries plug in here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .bias import GGABias
from .directions import TokenDirections
from .layout import TokenLayout
from .sdpa import biased_ego_attention

PlainAttention = Callable[[Tensor, Tensor, Tensor], Tensor]


def gga_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    layout: TokenLayout,
    directions: TokenDirections,
    bias: GGABias,
    plain_attention: PlainAttention,
) -> Tensor:
    """Return self-attention over the joined tokens with GGA's bias.

    Args:
        q: queries [B, n_tokens, heads * d], after norm and rotary embedding.
        k: keys, of the same shape.
        v: values, of the same shape.
        heads: number of heads.
        layout: order of the tokens.
        directions: on the device of `q`; one clip, shared by the whole batch.
        bias: which bias to add to the logits of ego queries and exo keys.
        plain_attention: `(q, k, v) -> out` on the same kind of tensors, for the exo queries, which have no bias. It
            gets the queries [B, exo_tokens, heads * d] and all keys and values.

    Returns:
        [B, n_tokens, heads * d].
    """
    exo_queries = layout.as_grid(q)[:, :, :, : layout.exo_columns]  # [B, T, rows, exo_columns, heads * d]
    exo = plain_attention(exo_queries.flatten(1, 3), k, v)
    ego = biased_ego_attention(q, k, v, heads, layout, directions, bias)
    joined = torch.cat([exo.view(exo_queries.shape), ego], dim=3)
    return joined.flatten(1, 3)
