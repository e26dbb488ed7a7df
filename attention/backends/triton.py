"""Back end `triton`: GGA in one fused kernel, on CUDA GPUs with half-precision tensors."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch
from torch import Tensor

from ..call import AttentionCall
from ..layout import TokenLayout
from .backend import Backend

HEAD_DIMS = (64, 128)
DTYPES = (torch.float16, torch.bfloat16)

# Before it there are neither bfloat16 nor copies into shared memory that run beside the products.
OLDEST_CAPABILITY = 80

# Frames that a block of queries may be of, where its size can be chosen; tensor cores multiply 16 rows at least.
_MOST_FRAMES = 4
_FEWEST_QUERIES = 16

# Weights in float16 end at 65,504 = 2^16 and lose precision below 2^-14: their largest is lifted up to this exponent.
_FLOAT16_TOP = 14


@dataclass(frozen=True)
class Tile:
    """How the kernel cuts its work: queries and keys a block, warps, and blocks of keys in flight."""

    queries: int
    keys: int
    warps: int
    stages: int


def missing_triton() -> str | None:
    """Return why Triton cannot be used on this machine, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed (for Windows there is triton-windows)"
    return None


def unsupported(call: AttentionCall) -> str | None:
    """Return why the kernel cannot take a call, or None."""
    q = call.q
    if call.needs_grad:
        return "its kernel has no backward pass, and gradients are asked for"
    if q.device.type != "cuda" and not _interpreted():
        return f"the device is {q.device.type}, not a CUDA GPU"
    if q.device.type == "cuda" and _capability(q.device) < OLDEST_CAPABILITY:
        return f"the kernel needs compute capability {OLDEST_CAPABILITY / 10} (Ampere) or newer"
    if q.dtype not in DTYPES:
        return f"the kernel takes float16 and bfloat16, not {str(q.dtype).removeprefix('torch.')}"
    if call.head_dim not in HEAD_DIMS:
        return f"the kernel takes head dimensions {HEAD_DIMS}, not {call.head_dim}"
    return missing_triton()


def attend(call: AttentionCall, out: Tensor, tile: Tile | None = None) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`.

    Args:
        call: its queries are float16 or bfloat16.
        out: [B, n_tokens, heads * d], its last axis contiguous.
        tile: defaults to one that fits the GPU.
    """
    from .triton_kernel import gga_forward

    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (call.q, call.k, call.v))
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
            *(stride for x in (q, k, v, out) for stride in x.stride()[:2]),
            heads,
            head_dim**-0.5 * math.log2(math.e),
            extended.boost,
            extended.offset,
            FRAMES=layout.frames,
            ROWS=layout.rows,
            EXO_COLUMNS=layout.exo_columns,
            EGO_COLUMNS=layout.ego_columns,
            SPAN=_span(tile.queries, layout),
            SHIFT=_shift(q.dtype, extended.largest),
            BOOSTED=extended.boost != 1.0,
            HEAD_DIM=head_dim,
            EXTENDED=extended.split_keys.shape[-1],
            BLOCK_M=tile.queries,
            BLOCK_N=tile.keys,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )


def tile_for(q: Tensor, head_dim: int) -> Tile:
    """Return a tile whose keys and values fit the shared memory of the GPU that holds `q`."""
    if q.device.type != "cuda":
        return Tile(64, 32, 4, 1)
    return tile_of_capability(_capability(q.device), head_dim)


def tile_of_capability(capability: int, head_dim: int) -> Tile:
    """Return the tile for a compute capability such as 89: 163 KB and more on 80 and 90, 99 KB on consumer cards."""
    if head_dim == 64:
        return Tile(128, 64, 4, 3)
    if capability in (80, 90, 100):
        return Tile(128, 64, 8, 3 if capability > 80 else 2)
    return Tile(128, 32, 8, 2)


def _capability(device: torch.device) -> int:
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
    return float(_FLOAT16_TOP - math.ceil(math.log2(largest_factor))) if dtype == torch.float16 else 0.0


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


BACKEND = Backend("one fused kernel (NVIDIA, fp16 or bf16)", attend, unsupported)
