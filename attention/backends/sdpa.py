"""Back end `sdpa`: GGA on torch's scaled_dot_product_attention, for every device.

The bias of a chunk of ego queries is made, used and overwritten: 26 MB at EgoX's size, where the whole one would take
1.6 GB in bfloat16. A chunk goes on into the next frame, for with few queries torch's CPU kernels are up to twice as
slow.

In a training every chunk has a bias of its own, which is not kept either: the backward pass makes it anew, and the
chunk's attention with it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from ..call import AttentionCall
from ..directions import ExtendedDirections
from ..layout import TokenLayout
from .backend import Backend

# Of a chunk of ego queries: their bias, themselves and their result.
CHUNK_BYTES = 36 << 20
_FACTOR_BYTES = 8 << 20

# Masks whose rows begin at multiples of this many numbers are taken as they are; others would be copied by CUDA's
# memory-efficient kernel.
_ALIGNMENT = 16


def attend(call: AttentionCall, out: Tensor) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`; see `Backend`."""
    q, heads, layout = call.q, call.heads, call.layout
    key, value = (rearrange(x, "b n (heads d) -> b heads n d", heads=heads) for x in (call.k, call.v))
    ego_queries, ego_out = (layout.as_rows(x)[:, :, layout.exo_columns :] for x in (q, out))
    n_rows = ego_queries.shape[1]
    row_bytes = layout.ego_columns * (layout.n_tokens + 2 * len(q) * q.shape[2]) * q.element_size()
    chunks = -(-n_rows // max(1, CHUNK_BYTES // row_bytes))
    rows = -(-n_rows // chunks)  # chunks of one size: a small last one would be slow
    buffer = None if call.needs_grad else _buffer(rows * layout.ego_columns, layout, q)
    for first in range(0, n_rows, rows):
        chunk = ego_queries[:, first : first + rows]
        # In two steps: in one, einops would gather them head by head.
        query = rearrange(chunk, "b row column c -> b (row column) c")
        query = rearrange(query, "b n (heads d) -> b heads n d", heads=heads)
        start = first * layout.ego_columns
        if buffer is None:
            # Not the call itself: its tensors would stay where an outer checkpoint lets them go.
            attended = checkpoint(_attended, query, key, value, None, start, layout, call.extended, use_reentrant=False)
        else:
            attended = _attended(query, key, value, buffer, start, layout, call.extended)
        joined = "b heads (row column) d -> b row column (heads d)"
        ego_out[:, first : first + rows] = rearrange(attended, joined, row=chunk.shape[1])


def _buffer(n_queries: int, layout: TokenLayout, like: Tensor) -> Tensor:
    """Return room for the bias of some queries [Q, n_tokens or a little more]; ego keys stay zero."""
    aligned = -(-layout.n_tokens // _ALIGNMENT) * _ALIGNMENT
    return torch.zeros(n_queries, aligned, dtype=like.dtype, device=like.device)


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    buffer: Tensor | None,
    first_query: int,
    layout: TokenLayout,
    extended: ExtendedDirections,
) -> Tensor:
    """Return the attention of some ego queries [B, heads, Q, d], with their bias written into `buffer` or a new one."""
    buffer = _buffer(query.shape[2], layout, query) if buffer is None else buffer
    mask = buffer[: query.shape[2], : layout.n_tokens]
    write_bias(mask, first_query, layout, extended)
    with _kernel_for(query.device):
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)


def write_bias(mask: Tensor, first_query: int, layout: TokenLayout, extended: ExtendedDirections) -> None:
    """Write the bias of some ego queries, one after the other, into the exo columns of `mask`.

    Args:
        mask: [Q, n_tokens]; its ego columns are left alone.
        first_query: index of the first query among the ego tokens of all frames.
        layout: order of the tokens.
        extended: directions with the bias folded in.
    """
    exo_keys = layout.as_rows(mask)[:, :, : layout.exo_columns]  # [Q, T * rows, exo_columns]
    step = max(1, _FACTOR_BYTES // (4 * layout.exo_tokens))
    done = 0
    while done < len(mask):
        frame, query = divmod(first_query + done, layout.ego_tokens_per_frame)
        end = min(query + step, query + len(mask) - done, layout.ego_tokens_per_frame)
        part = exo_keys[done : done + end - query]
        part.copy_(_bias_of(extended, frame, slice(query, end)).view(part.shape))
        done += len(part)


def _bias_of(extended: ExtendedDirections, frame: int, queries: slice) -> Tensor:
    """Return the bias of some queries of a frame and all exo keys, [Q, K] float32."""
    if extended.keys.is_cuda:  # other packs may switch TF32 on: halves of 11 bits are exact in it
        products = extended.split_queries[frame, queries].float() @ extended.split_keys[frame].float().T
    else:
        products = extended.queries[frame, queries] @ extended.keys[frame].T
    return extended.factors(products).clamp_min_(extended.smallest).log_()


def _kernel_for(device: torch.device) -> AbstractContextManager:
    # Flash attention takes no bias, and cuDNN's kernel would copy one whose rows are padded.
    if device.type != "cuda":
        return nullcontext()
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


BACKEND = Backend("plain torch, every device", attend)
