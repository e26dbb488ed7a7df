"""The rasteriser of any device, and the twin of the compiled one: sorting instead of a per-pixel search.

Every point is spread over the square of pixels around it. Each pixel that its disc touches becomes one integer, the
pixel in the high bits and the point's rank by depth in the low ones: sorting those integers groups them by pixel,
nearest point first, and the first K of each group are the answer. Where they fit they have 32 bits, which halves what
is moved and sorted; strips of `FAST_PIXELS` pixels mostly do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from .fragments import Fragments, Raster, Splats
from .reused_memory import ReusedMemory

# Memory of one (point, pixel) pair while keys are made and sorted: key, distance, mask, and the sort's own copies.
_BYTES_PER_PAIR = 40
# Of a strip whose keys have 32 bits as long as fewer than 2**16 points touch it.
FAST_PIXELS = 2**15
# Points whose keys are made at once: on a CPU what is written several times stays in its cache.
_CPU_BLOCK, _GPU_BLOCK = 2**12, 2**15


def rasterize(
    splats: Splats, raster: Raster, memory_budget_bytes: int, memory: ReusedMemory | None = None
) -> Fragments:
    """Find the nearest points of every pixel, exactly as `fragments` defines it.

    Args:
        splats: the projected points.
        raster: sizes and the disc.
        memory_budget_bytes: points are spread in portions that stay within it (front to back, each portion merged
            into what the pixels hold already); the result does not depend on it.
        memory: for the temporaries of call after call.
    """
    memory = memory or ReusedMemory()
    n = len(splats)
    by_depth = torch.argsort(splats.z, stable=True)  # [N], rank to splat
    rank_bits = max(n - 1, 1).bit_length()
    keys = torch.zeros(0, dtype=_key_type(rank_bits, raster), device=splats.z.device)
    for ranks in torch.arange(n, device=by_depth.device).split(splats_within(memory_budget_bytes, raster)):
        cancel_point()
        portion = by_depth[ranks]
        places = (*splats.pixels[portion].unbind(dim=1), splats.image[portion].to(keys), ranks.to(keys))
        spread = _keys(*places, rank_bits, raster, memory)
        keys = torch.cat([keys, spread]) if len(keys) else spread
        keys = _nearest(_sorted(keys), rank_bits, raster.points_per_pixel, memory)
    return _fragments(keys, rank_bits, by_depth, splats, raster)


def splats_within(memory_budget_bytes: int, raster: Raster) -> int:
    """Return how many splats can be spread over their pixels at once; at least one."""
    side = 2 * reach_of(raster.radius) + 1
    return max(1, memory_budget_bytes // (side * side * _BYTES_PER_PAIR))


def reach_of(radius: float) -> int:
    """Return how many pixels left or right of its own a disc can touch: centres are at most `radius` + 0.5 off."""
    return math.ceil(radius + 0.5) - 1


def _key_type(rank_bits: int, raster: Raster) -> torch.dtype:
    """Return the smallest type that holds every key, and the empty one behind them all."""
    pixels = raster.n_images * raster.height * raster.width
    return torch.int32 if pixels << rank_bits < torch.iinfo(torch.int32).max else torch.int64


def _keys(
    x: Tensor, y: Tensor, image: Tensor, rank: Tensor, rank_bits: int, raster: Raster, memory: ReusedMemory
) -> Tensor:
    """Return one key for each pixel in the square around each of n points [side * side * n].

    Off the disc it is the type's largest number, which sorts behind every key.

    Args:
        x: column [n], in pixels.
        y: row [n], likewise.
        image: [n], in the type that keys shall have.
        rank: by depth [n], likewise.
        rank_bits: of a key.
        raster: sizes and the disc.
        memory: where the keys lie.
    """
    reach = reach_of(raster.radius)
    side = 2 * reach + 1
    offsets = torch.arange(-reach, reach + 1, device=x.device, dtype=rank.dtype)[:, None]
    keys = memory.take("keys", side * side * len(rank), rank.dtype, rank.device)
    block = _CPU_BLOCK if x.device.type == "cpu" else _GPU_BLOCK
    first = 0
    for part in range(0, len(x), block):
        some = slice(part, part + block)
        columns, rows = (torch.floor(position[some]).to(rank) + offsets for position in (x, y))  # [side, n]
        column_distance2 = _squared_distances(columns, x[some], 0, raster.width)
        row_distance2 = _squared_distances(rows, y[some], raster.top, raster.height)
        # (image, row), column and rank add up without carry, so the square's keys take one addition. Off the image the
        # sum may be anything, and is not kept.
        row_keys = ((image[some] * raster.height + rows - raster.top) * raster.width) << rank_bits  # [side, n]
        column_keys = (columns << rank_bits) + rank[some]  # [side, n]
        own = keys[first : first + side * columns.numel()].view(side, side, -1)
        first += own.numel()
        torch.add(row_keys[:, None], column_keys, out=own)
        distance2 = memory.take("distance2", own.numel(), x.dtype, x.device).view(own.shape)
        torch.add(row_distance2[:, None], column_distance2, out=distance2)
        # Without branches: `masked_fill_` has one for each key, which no processor foresees.
        is_off = memory.take("is_off", own.numel(), own.dtype, own.device).view(own.shape)
        torch.ge(distance2, raster.radius**2, out=is_off)
        torch.maximum(own, is_off.mul_(_empty(own)), out=own)
    return keys


def _squared_distances(cells: Tensor, position: Tensor, first: int, size: int) -> Tensor:
    """Return the squared distance of the cells' centres to a position, infinite outside the `size` from `first` on."""
    distance2 = (cells + 0.5 - position).square()
    return distance2.masked_fill_((cells < first) | (cells >= first + size), math.inf)


def _sorted(keys: Tensor) -> Tensor:
    """Sort keys; unlike `torch.sort`, NumPy sorts in place, without indices and several times faster on the CPU."""
    if keys.device.type != "cpu":
        return torch.sort(keys).values
    keys.numpy().sort()
    return keys


def _empty(keys: Tensor) -> int:
    return torch.iinfo(keys.dtype).max


def _nearest(keys: Tensor, rank_bits: int, count: int, memory: ReusedMemory) -> Tensor:
    """Keep the first `count` keys of each pixel; drops the empty ones."""
    keys = keys[: int(torch.searchsorted(keys, _empty(keys)))]
    pixel = memory.take("pixel", len(keys), keys.dtype, keys.device)
    torch.bitwise_right_shift(keys, rank_bits, out=pixel)
    # A key is too far back where the one `count` places before belongs to the same pixel.
    kept = memory.take("kept", len(keys), torch.bool, keys.device)
    kept[:count] = True
    torch.ne(pixel[count:], pixel[:-count], out=kept[count:])
    return _chosen(keys, kept)


def _chosen(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the values of a mask; on the CPU NumPy takes a quarter of the time."""
    if values.device.type != "cpu":
        return values[chosen]
    return torch.from_numpy(values.numpy()[chosen.numpy()])


def _fragments(keys: Tensor, rank_bits: int, by_depth: Tensor, splats: Splats, raster: Raster) -> Fragments:
    """Turn the kept keys, at most K a pixel, into rows of K points."""
    pixel, counts = torch.unique_consecutive(keys >> rank_bits, return_counts=True)  # [P]
    pixel = pixel.long()
    slots = torch.arange(raster.points_per_pixel, device=keys.device)
    filled = slots < counts[:, None]  # [P, K]
    by_rank = by_depth.index_select(0, keys & ((1 << rank_bits) - 1))
    # Row by row, the filled places take the points in their order.
    point = torch.full_like(filled, -1, dtype=torch.int64).masked_scatter_(filled, by_rank)
    row, column = pixel // raster.width % raster.height + raster.top, pixel % raster.width
    distance2 = torch.zeros((), dtype=splats.z.dtype, device=keys.device)
    if len(splats):
        seen = point.clamp(min=0).view(-1)
        for cell, position in zip((column, row), splats.pixels.unbind(dim=-1)):
            offset = cell[:, None] + 0.5 - position.index_select(0, seen).view(point.shape)
            distance2 = distance2 + offset.square()  # [P, K]
    alpha = (1 - distance2 / raster.radius**2).expand(point.shape).masked_fill(~filled, 0)
    return Fragments(pixel, point, alpha)
