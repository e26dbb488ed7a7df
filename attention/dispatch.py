"""Self-attention with GGA: exo queries to plain attention, ego queries to a back end that knows the bias.

Both write into one result. Exo queries go in chunks, for they have to be gathered: at EgoX's size all of them and their
result would take 370 MB beside it. Only attention that prepares keys anew at every call (sage quantises them) gets them
all at once.

Ego queries could also go twice through plain attention's kernels, to exo and to ego keys, and be merged by log-sum-exp.
But neither ComfyUI's attention functions nor the overrides of other packs return that sum, and the fused kernel, which
meets both kinds of keys in one pass, has nothing to merge.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .backends import Backend, ego_attention
from .bias import GGABias
from .directions import TokenDirections
from .layout import TokenLayout

PlainAttention = Callable[[Tensor, Tensor, Tensor], Tensor]

# Of exo queries at a time: small against 64 MB, and large enough to fill a GPU.
_EXO_BYTES = 20 << 20


def gga_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    layout: TokenLayout,
    directions: TokenDirections,
    bias: GGABias,
    plain_attention: PlainAttention,
    backend: Backend = Backend.AUTO,
    exo_at_once: bool = False,
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
            gets some of the queries [B, n, heads * d] and all keys and values.
        backend: who computes the attention of the ego queries.
        exo_at_once: give all exo queries to one call of `plain_attention`.

    Returns:
        [B, n_tokens, heads * d].
    """
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    queries, results = (layout.as_grid(x).flatten(1, 2)[:, :, : layout.exo_columns] for x in (q, out))
    row_bytes = queries[:, 0].numel() * q.element_size()
    rows = queries.shape[1] if exo_at_once else max(1, _EXO_BYTES // row_bytes)
    for first in range(0, queries.shape[1], rows):
        chunk = queries[:, first : first + rows]  # [B, rows, exo_columns, heads * d]
        results[:, first : first + rows] = plain_attention(chunk.flatten(1, 2), k, v).view(chunk.shape)
    ego_attention(q, k, v, heads, layout, directions, bias, out, backend)
    return out
