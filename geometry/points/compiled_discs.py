"""Discs on pixels, compiled with Numba; see `rasterizer_numba`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# No reordered sums: opacities are those of the other rasterisers to the last bit. Threads run it side by side.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # What is kept on the disk names the function's module, and ComfyUI and the commands have two names for this one.
    function.__module__ = numba.__name__
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder may be written to: compiled anew in every process
        return numba.njit(**_OPTIONS)(function)


@_compiled
def nearest(
    x: np.ndarray,
    y: np.ndarray,
    image: np.ndarray,
    by_depth: np.ndarray,
    centers: tuple[np.ndarray, np.ndarray],
    reach: int,
    radius2: float,
    most: int,
    n_images: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give every pixel the first `most` points that touch it, front to back.

    Args:
        x: columns of N points [N], in pixels of the image.
        y: their rows [N], likewise.
        image: of the batch [N].
        by_depth: the points from front to back [N].
        centers: of the columns [W] and of the strip's rows [H], in the type of x and y and in pixels of the image.
        reach: how many pixels left or right of its own a disc can touch.
        radius2: of a disc, squared, in the type of x and y.
        most: points that a pixel keeps, K.
        n_images: of the batch.

    Returns:
        How many points a pixel has [n_images * H * W], which [.., K], and their squared distances [.., K]; beyond the
        pixel's number there is anything.
    """
    columns, rows = centers
    height, width = len(rows), len(columns)
    counts = np.zeros(n_images * height * width, np.int32)
    points = np.empty((len(counts), most), np.int32)
    distances2 = np.empty((len(counts), most), x.dtype)
    top = math.floor(rows[0])
    for rank in range(len(by_depth)):
        point = by_depth[rank]
        column, row = math.floor(x[point]), math.floor(y[point]) - top
        left, right = max(column - reach, 0), min(column + reach + 1, width)
        for down in range(max(row - reach, 0), min(row + reach + 1, height)):
            row_distance = rows[down] - y[point]
            row_distance2 = row_distance * row_distance
            if not row_distance2 < radius2:
                continue
            first = (image[point] * height + down) * width
            for across in range(left, right):
                column_distance = columns[across] - x[point]
                distance2 = row_distance2 + column_distance * column_distance
                if distance2 < radius2:
                    pixel = first + across
                    count = counts[pixel]
                    if count < most:
                        counts[pixel] = count + 1
                        points[pixel, count] = point
                        distances2[pixel, count] = distance2
    return counts, points, distances2


@_compiled
def touched(
    counts: np.ndarray, points: np.ndarray, distances2: np.ndarray, radius2: float, one: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel [P], point [P, K] and alpha [P, K] of the pixels that any point touches; see `Fragments`."""
    n, most = 0, points.shape[1]
    for pixel in range(len(counts)):
        n += counts[pixel] > 0
    pixels, kept = np.empty(n, np.int64), np.empty((n, most), np.int64)
    alpha = np.empty((n, most), distances2.dtype)
    place = 0
    for pixel in range(len(counts)):
        count = counts[pixel]
        if count == 0:
            continue
        pixels[place] = pixel
        for slot in range(count):
            kept[place, slot] = points[pixel, slot]
            alpha[place, slot] = one - distances2[pixel, slot] / radius2
        for slot in range(count, most):
            kept[place, slot] = -1
            alpha[place, slot] = 0
        place += 1
    return pixels, kept, alpha
