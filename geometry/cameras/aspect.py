"""Whether two sizes in pixels can be the same picture at two resolutions."""

from __future__ import annotations

from collections.abc import Sequence

# Rounding a side to whole pixels changes the aspect ratio by 0.5 % at 100 pixels, and by less above.
ASPECT_TOLERANCE = 0.005


def same_aspect(size: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether two sizes (width, height) have one aspect ratio, up to rounding to whole pixels."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= ASPECT_TOLERANCE


def in_shape_of(size: Sequence[int], shape: Sequence[int]) -> tuple[int, int]:
    """Return the largest part of `size` (width, height) that has the aspect ratio of `shape` (width, height)."""
    width, height = size
    width_for_height = height * shape[0] / shape[1]
    if width_for_height <= width:
        return max(1, round(width_for_height)), height
    return width, max(1, round(width * shape[1] / shape[0]))
