"""Launching the fused kernel: its tiles, and the arguments and constants that its forward and backward pass share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..call import AttentionCall
from ..directions import ExtendedDirections
from ..layout import TokenLayout

# Frames that a block of queries may be of, where its size can be chosen; tensor cores multiply 16 rows at least.
_MOST_FRAMES = 4
_FEWEST_QUERIES = 16

# Weights in float16 end at 65,504 = 2^16 and lose precision below 2^-14: their largest is lifted up to this exponent.
WEIGHTS_TOP = 14


@dataclass(frozen=True)
class Tile:
    """How the kernel cuts its work: queries and keys a block, warps, and blocks of keys in flight."""

    queries: int
    keys: int
    warps: int
    stages: int


def launch(call: AttentionCall, out: Tensor, log_sums: Tensor | None, tile: Tile | None = None) -> None:
    """Run the kernel of the forward pass.

    Args:
        call: as in `attend`.
        out: as in `attend`.
        log_sums: [B * heads, ego tokens] float32, which gets the base-2 logarithms of the queries' sums; None where
            no backward pass follows.
        tile: as in `attend`.
    """
    from .triton_kernel import gga_forward

    q, k, v = (with_contiguous_channels(x) for x in (call.q, call.k, call.v))
    heads, head_dim, layout, extended = call.heads, call.head_dim, call.layout, call.extended
    tile = _few_frames(tile or tile_for(q, head_dim), layout)
    n_queries = layout.frames * layout.ego_tokens_per_frame
    grid = (-(-n_queries // tile.queries), q.shape[0] * heads)
    with torch.cuda.device_of(q):  # Triton launches on the current device
        gga_forward[grid](
            q,
            k,
            v,
            out,
            extended.split_queries,
            extended.split_keys,
            log_sums,
            *(stride for x in (q, k, v, out) for stride in x.stride()[:2]),
            heads,
            logit_scale(head_dim),
            extended.boost,
            extended.offset,
            **sizes(layout, extended, head_dim),
            SPAN=_span(tile.queries, layout),
            SHIFT=_shift(q.dtype, extended.largest),
            **blocks(tile),
        )


def sizes(layout: TokenLayout, extended: ExtendedDirections, head_dim: int) -> dict[str, int | bool]:
    """Return the constants that all kernels are compiled for."""
    return {
        "FRAMES": layout.frames,
        "ROWS": layout.rows,
        "EXO_COLUMNS": layout.exo_columns,
        "EGO_COLUMNS": layout.ego_columns,
        "BOOSTED": extended.boost != 1.0,
        "HEAD_DIM": head_dim,
        "EXTENDED": extended.split_keys.shape[-1],
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


def tile_for(q: Tensor, head_dim: int) -> Tile:
    """Return a tile whose keys and values fit the shared memory of the GPU that holds `q`."""
    if q.device.type != "cuda":
        return Tile(64, 32, 4, 1)
    return tile_of_capability(capability_of(q.device), head_dim)


def tile_of_capability(capability: int, head_dim: int) -> Tile:
    """Return the forward tile for a compute capability such as 89: 163 KB and more on 80 and 90, else 99 KB."""
    if head_dim == 64:
        return Tile(128, 64, 4, 3)
    if capability in (80, 90, 100):
        return Tile(128, 64, 8, 3 if capability > 80 else 2)
    return Tile(128, 32, 8, 2)


def capability_of(device: torch.device) -> int:
    """Return a GPU's compute capability such as 89."""
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


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
