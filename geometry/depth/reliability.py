"""Which pixels of a depth map can be trusted: those away from its edges and holes (EgoX's release)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.cancel import bounded_slices

# EgoX's release.
RELIABILITY_WINDOW = 5
RELIABILITY_THRESHOLD = 0.1


def reliable_mask(depth: Tensor, window: int = RELIABILITY_WINDOW, threshold: float = RELIABILITY_THRESHOLD) -> Tensor:
    """Return the pixels whose depth can be trusted, away from depth edges and holes (EgoX's release).

    Args:
        depth: metres [F, H, W], 0 where invalid.
        window: side of the square around a pixel, odd; at the border its part inside the map.
        threshold: (largest - smallest) / mean of the window stays below it.

    Returns:
        [F, H, W] bool. Depth must be positive; a hole in the window makes its pixels unreliable.

    Raises:
        ValueError: if the shape or the window does not fit.
    """
    if depth.ndim != 3:
        raise ValueError(f"Expected depth [F, H, W], got the shape {list(depth.shape)}.")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"The reliability window takes an odd number of pixels, got {window}. Set an odd one.")
    half = window // 2
    reliable = torch.empty(depth.shape, dtype=torch.bool)
    for frame, one in enumerate(depth):
        for rows in bounded_slices(len(one), one.shape[1]):
            top, bottom = max(0, rows.start - half), min(len(one), rows.stop + half)  # all that their windows see
            found = _reliable(one[None, None, top:bottom], window, threshold)
            reliable[frame, rows] = found[rows.start - top : rows.stop - top]
    return reliable


def _reliable(maps: Tensor, window: int, threshold: float) -> Tensor:
    """Return `reliable_mask` of one map [1, 1, H, W] as [H, W]."""
    largest, smallest = maps[0, 0], -maps[0, 0]
    for axis in (0, 1):  # a square's maximum is that of its rows' maxima
        largest, smallest = (_running_maximum(values, window, axis) for values in (largest, smallest))
    mean = torch.nn.functional.avg_pool2d(maps, window, 1, window // 2, count_include_pad=False)[0, 0]
    return (largest + smallest < threshold * mean) & (maps[0, 0] > 0)


def _running_maximum(values: Tensor, window: int, axis: int) -> Tensor:
    """Return the maximum of the odd `window` around each entry along an axis; a sixth of the time of a pooling."""
    found = values.clone()
    for shift in range(1, min(window // 2, values.shape[axis] - 1) + 1):
        length = values.shape[axis] - shift
        for own, other in ((0, shift), (shift, 0)):
            some = found.narrow(axis, own, length)
            torch.maximum(some, values.narrow(axis, other, length), out=some)
    return found
