"""The rasteriser of any device: sorting instead of a per-pixel search.

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

# Memory of one (point, pixel) pair while keys are made and sorted: key, distance, mask, and the sort's own copies.
_BYTES_PER_PAIR = 40
# Of a strip whose keys have 32 bits as long as fewer than 2**16 points touch it.
FAST_PIXELS = 2**15


def rasterize(splats: Splats, raster: Raster, memory_budget_bytes: int) -> Fragments:
    """Find the nearest points of every pixel, exactly as `fragments` defines it.

    Args:
        splats: the projected points.
        raster: sizes and the disc.
        memory_budget_bytes: points are spread in portions that stay within it (front to back, each portion merged
            into what the pixels hold already); the result does not depend on it.
    """
    n = len(splats)
    by_depth = torch.argsort(splats.z, stable=True)  # [N], rank to splat
    rank_bits = max(n - 1, 1).bit_length()
    keys = torch.zeros(0, dtype=_key_type(rank_bits, raster), device=splats.z.device)
    for ranks in torch.arange(n, device=by_depth.device).split(splats_within(memory_budget_bytes, raster)):
        cancel_point()
        portion = by_depth[ranks]
        spread = _keys(splats.pixels[portion], splats.image[portion].to(keys), ranks.to(keys), rank_bits, raster)
        keys = torch.cat([keys, spread]) if len(keys) else spread
        keys = _nearest(_sorted(keys), rank_bits, raster.points_per_pixel)
    return _fragments(keys, rank_bits, by_depth, splats, raster)


def splats_within(memory_budget_bytes: int, raster: Raster) -> int:
    """Return how many splats can be spread over their pixels at once; at least one."""
    side = 2 * _reach(raster.radius) + 1
    return max(1, memory_budget_bytes // (side * side * _BYTES_PER_PAIR))


def _reach(radius: float) -> int:
    """Return how many pixels left or right of its own a disc can touch: centres are at most `radius` + 0.5 off."""
    return math.ceil(radius + 0.5) - 1


def _key_type(rank_bits: int, raster: Raster) -> torch.dtype:
    """Return the smallest type that holds every key, and the empty one behind them all."""
    pixels = raster.n_images * raster.height * raster.width
    return torch.int32 if pixels << rank_bits < torch.iinfo(torch.int32).max else torch.int64


def _keys(pixels: Tensor, image: Tensor, ranks: Tensor, rank_bits: int, raster: Raster) -> Tensor:
    """Return one key for each pixel in the square around each of n points [n * side * side].

    Off the disc it is the type's largest number, which sorts behind every key.

    Args:
        pixels: [n, 2].
        image: [n], in the type that keys shall have.
        ranks: [n], likewise.
        rank_bits: of a key.
        raster: sizes and the disc.
    """
    reach = _reach(raster.radius)
    offsets = torch.arange(-reach, reach + 1, device=pixels.device, dtype=ranks.dtype)
    cells = torch.floor(pixels).to(ranks)  # [n, 2]
    columns, rows = cells[:, :1] + offsets, cells[:, 1:] + offsets  # [n, side]
    column_distance2 = _squared_distances(columns, pixels[:, :1], 0, raster.width)
    row_distance2 = _squared_distances(rows, pixels[:, 1:], raster.top, raster.height)
    # (image, row), column and rank add up without carry, so the square's keys take one addition. Off the image the sum
    # may be anything, and is not kept.
    row_keys = ((image[:, None] * raster.height + rows - raster.top) * raster.width) << rank_bits  # [n, side]
    column_keys = (columns << rank_bits) + ranks[:, None]  # [n, side]
    keys = row_keys[:, :, None] + column_keys[:, None, :]  # [n, side, side]
    distance2 = column_distance2[:, None, :] + row_distance2[:, :, None]
    return keys.masked_fill_(distance2 >= raster.radius**2, _empty(keys)).view(-1)


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


def _nearest(keys: Tensor, rank_bits: int, count: int) -> Tensor:
    """Keep the first `count` keys of each pixel; drops the empty ones."""
    keys = keys[: int(torch.searchsorted(keys, _empty(keys)))]
    pixel = keys >> rank_bits
    # A key is too far back where the one `count` places before belongs to the same pixel.
    kept = torch.ones_like(keys, dtype=torch.bool)
    kept[count:] = pixel[count:] != pixel[:-count]
    return keys[kept]


def _fragments(keys: Tensor, rank_bits: int, by_depth: Tensor, splats: Splats, raster: Raster) -> Fragments:
    """Turn the kept keys, at most K a pixel, into rows of K points."""
    pixel, counts = torch.unique_consecutive(keys >> rank_bits, return_counts=True)  # [P]
    pixel = pixel.long()
    slots = torch.arange(raster.points_per_pixel, device=keys.device)
    filled = slots < counts[:, None]  # [P, K]
    point = torch.full_like(filled, -1, dtype=torch.int64)
    # Row by row, the filled places take the keys in their order.
    point[filled] = by_depth[keys & ((1 << rank_bits) - 1)]
    row, column = pixel // raster.width % raster.height + raster.top, pixel % raster.width
    centers = torch.stack([column, row], dim=-1) + 0.5  # [P, 2]
    if len(splats) == 0:
        return Fragments(pixel, point, splats.z.new_zeros(point.shape))
    distance2 = (centers[:, None] - splats.pixels[point]).square().sum(dim=-1)  # [P, K]
    alpha = (1 - distance2 / raster.radius**2).masked_fill_(~filled, 0)
    return Fragments(pixel, point, alpha)
