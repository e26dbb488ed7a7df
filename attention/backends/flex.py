"""Back end `flex`: GGA as a score_mod of FlexAttention, which torch compiles into one kernel.

The score_mod reads two extended directions a pair; no bias is ever stored. torch.compile takes half a minute at the
first call of a size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from einops import rearrange
from torch import Tensor

from ..call import AttentionCall
from ..directions import EXTENDED, ExtendedDirections
from ..layout import TokenLayout
from .backend import Backend
from .triton import missing_triton

# FlexAttention on GPUs takes head dimensions that are powers of two from 16 up.
_SMALLEST_HEAD_DIM = 16


def unsupported(call: AttentionCall) -> str | None:
    """Return why FlexAttention cannot take a call, or None."""
    device = call.q.device.type
    if device == "cpu":
        return "torch's FlexAttention has no backward pass on CPUs" if call.needs_grad else None
    if device != "cuda":
        return f"the device is {device}, not a CUDA GPU or the CPU"
    head_dim = call.head_dim
    if head_dim < _SMALLEST_HEAD_DIM or head_dim & (head_dim - 1):
        return f"FlexAttention takes head dimensions that are powers of two from 16 up, not {head_dim}"
    return missing_triton()


def declined(call: AttentionCall) -> str | None:
    """Return why `auto` passes FlexAttention over, or None."""
    return None if call.q.device.type == "cuda" else "its compiled kernel is only worthwhile on a GPU"


def attend(call: AttentionCall, out: Tensor) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`; see `Backend`.

    Frame by frame, so that the queries gathered at a time are few.
    """
    q, heads, layout, extended = call.q, call.heads, call.layout, call.extended
    key, value = (rearrange(x, "b n (heads d) -> b heads n d", heads=heads) for x in (call.k, call.v))
    ego_queries, ego_out = (layout.as_grid(x)[:, :, :, layout.exo_columns :] for x in (q, out))
    for frame in range(layout.frames):
        chunk = ego_queries[:, frame]  # [B, rows, ego_columns, heads * d]
        query = rearrange(chunk, "b row column (heads d) -> b heads (row column) d", heads=heads)
        modify = score_mod(extended, frame, layout)
        attended = _compiled_flex_attention()(query.contiguous(), key, value, score_mod=modify)
        joined = "b heads (row column) d -> b row column (heads d)"
        ego_out[:, frame] = rearrange(attended, joined, row=layout.rows)


ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def score_mod(extended: ExtendedDirections, frame: int, layout: TokenLayout) -> ScoreMod:
    """Return the score_mod of one frame of ego queries.

    What it closes over are tensors and the layout: torch compiles it once for all frames, forms and lambdas of a size,
    and only eight times in all.

    Args:
        extended: directions with the bias folded in.
        frame: of the queries.
        layout: order of the keys.
    """
    columns, exo_columns = layout.columns, layout.exo_columns
    queries, keys, numbers = extended.queries[frame], extended.keys[frame], extended.numbers

    def add_bias(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, token: Tensor) -> Tensor:
        row = token // columns
        column = token - row * columns
        is_exo = column < exo_columns
        key = torch.where(is_exo, row * exo_columns + column, 0)
        x = queries[query, 0] * keys[key, 0]
        for place in range(1, EXTENDED):
            x = x + queries[query, place] * keys[key, place]
        factor = torch.maximum(torch.maximum(x, x * numbers[0] - numbers[1]), numbers[2])
        return score + torch.where(is_exo, factor.log(), 0.0)

    return add_bias


@cache
def _compiled_flex_attention() -> Callable[..., Tensor]:
    # Imported here: torch.compile's machinery takes seconds to load.
    from torch.nn.attention.flex_attention import flex_attention

    # Without fullgraph, torch would quietly run the uncompiled form, which stores every pair, after many sizes.
    # CPU kernels have the number of threads built in, but torch's cache of kernels on disk asks for all but that: one
    # made by a process with fewer threads would write outside its buffers (seen in torch 2.11). So it is said here.
    options = {"cpp.threads": torch.get_num_threads()}
    return torch.compile(flex_attention, dynamic=False, fullgraph=True, options=options)


BACKEND = Backend("torch's FlexAttention", attend, unsupported, declined)
