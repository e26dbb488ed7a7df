"""Launching the fused kernel, and the arguments and constants that its forward and backward pass share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..call import AttentionCall
from ..directions import SPLIT, ExtendedDirections
from ..layout import TokenLayout
from .triton_tiles import Tile, tile_for

# Frames that a block of queries may be of, where its size can be chosen; tensor cores multiply 16 rows at least.
_MOST_FRAMES = 4
_FEWEST_QUERIES = 16

# Weights in float16 end at 65,504 = 2^16 and lose precision below 2^-14: their largest is lifted up to this exponent.
WEIGHTS_TOP = 14


def launch(call: AttentionCall, out: Tensor, log_sums: Tensor | None, tile: Tile | None = None) -> None:
    """Run the kernel of the forward pass.

    Args:
        call: as in `attend`.
        out: as in `attend`.
        log_sums: [B * heads, ego tokens] float32, which gets the base-2 logarithms of the queries' sums; None where
            no backward pass follows.
        tile: as in `attend`.
    """
    q, k, v = (with_contiguous_channels(x) for x in (call.q, call.k, call.v))
    launch_prepared(call, q, k, v, out, tile or tile_for(q.device, call.head_dim), log_sums=log_sums)


def launch_prepared(
    call: AttentionCall,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    tile: Tile,
    key_scales: Tensor | None = None,
    log_sums: Tensor | None = None,
) -> None:
    """Run the kernel of the forward pass on tensors that are ready for it.

    Args:
        call: layout, directions, bias and size of a head.
        q: [B, n_tokens, some heads * d], as `k`, `v` and `out`; their last axes are contiguous.
        k: as the model made it, or int8.
        v: likewise, or float16.
        out: its ego tokens are written.
        tile: how to cut the work; blocks of int8 keys are of its size.
        key_scales: what keys in int8 were divided by, [B * some heads, blocks of keys] float32.
        log_sums: as in `launch`.
    """
    from .triton_kernel import gga_forward

    head_dim, layout, extended = call.head_dim, call.layout, call.extended
    heads, tile = q.shape[-1] // head_dim, _few_frames(tile, layout)
    with torch.cuda.device_of(q):  # Triton launches on the current device
        for part in parts_of(layout, tile.queries):
            gga_forward[part.blocks, q.shape[0] * heads](
                *(q, k, v, out),
                extended.split_queries,
                extended.joined_keys(layout),
                key_scales,
                log_sums,
                *(stride for x in (q, k, v, out) for stride in x.stride()[:2]),
                heads,
                logit_scale(head_dim),
                extended.boost,
                extended.offset,
                **sizes(layout, extended, head_dim),
                SPAN=part.span,
                BORDERS=part.borders,
                SHIFT=_shift(v.dtype, extended.largest),
                **blocks(tile),
            )


@dataclass(frozen=True)
class Part:
    """One launch: how many blocks of queries, of how many frames each can be, and whether they are those at borders."""

    blocks: int
    span: int
    borders: bool = False


def parts_of(layout: TokenLayout, queries: int) -> list[Part]:
    """Return the launches that together attend to every block of so many ego queries.

    Blocks at the border of two frames go by themselves; where frames are shorter than a block, all blocks do.
    """
    per_frame, frames = layout.ego_tokens_per_frame, layout.frames
    whole = -(-frames * per_frame // queries)
    if frames == 1 or per_frame % queries == 0:
        return [Part(whole, 1)]
    if per_frame < queries:
        return [Part(whole, _span(queries, layout))]
    return [Part(whole, 1), Part(frames - 1, 2, borders=True)]


def sizes(layout: TokenLayout, extended: ExtendedDirections, head_dim: int) -> dict[str, int | bool]:
    """Return the constants that all kernels are compiled for."""
    return {
        "FRAMES": layout.frames,
        "ROWS": layout.rows,
        "EXO_COLUMNS": layout.exo_columns,
        "EGO_COLUMNS": layout.ego_columns,
        "BOOSTED": extended.boost != 1.0,
        "HEAD_DIM": head_dim,
        "EXTENDED": SPLIT,
    }


def blocks(tile: Tile) -> dict[str, int]:
    """Return a tile as the kernels' constants and Triton's options."""
    return {"BLOCK_M": tile.queries, "BLOCK_N": tile.keys, "num_warps": tile.warps, "num_stages": tile.stages}


def logit_scale(head_dim: int) -> float:
    """Return what makes products of queries and keys exponents of two."""
    return head_dim**-0.5 * math.log2(math.e)


def with_contiguous_channels(x: Tensor) -> Tensor:
    """Return a tensor whose last axis is contiguous: itself, or a copy."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _few_frames(tile: Tile, layout: TokenLayout) -> Tile:
    """Return a tile whose queries are of few frames: the kernel is unrolled over them."""
    while _span(tile.queries, layout) > _MOST_FRAMES and tile.queries > _FEWEST_QUERIES:
        tile = replace(tile, queries=tile.queries // 2)
    return tile


def _span(queries: int, layout: TokenLayout) -> int:
    """Return of how many frames a block of queries can be."""
    return min(layout.frames, (queries - 2) // layout.ego_tokens_per_frame + 2)


def _shift(dtype: torch.dtype, largest_factor: float) -> float:
    return float(WEIGHTS_TOP - math.ceil(math.log2(largest_factor))) if dtype == torch.float16 else 0.0
