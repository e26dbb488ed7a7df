"""Does a depth input look like what it is declared to hold?

Two regularities of ordinary pictures carry the checks that no range can decide. The lower part of an upright picture
is nearer than its upper part. And few pixels are among the nearest ones, so inverse depth, stretched to [0, 1] by
its nearest pixel, is mostly dark, while `1 - minmax(depth)` (MoGe's IMAGE) is mostly bright: on two real takes the
median is 0.18 and 0.32 for the former, 0.67 and 0.65 for the latter.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

import torch
from torch import Tensor

from ...common.cancel import bounded_slices, cancel_point

# A stretched input reaches 0 and 1 up to 8-bit rounding; video coding adds a few grey levels.
_STRETCH_TOLERANCE = 0.02
_CHANNEL_TOLERANCE = 0.05
# Indoor and street scenes stay far below; millimetres and 8-bit grey values lie above.
_LARGEST_MEDIAN_METRES = 100.0
# Difference of lower and upper medians, as a share of the clip's range, that counts as a clear direction.
_CLEAR_DIRECTION = 0.15
_BRIGHT_MEDIAN = 0.55
# Medians and shares do not need every pixel: about this many of a frame serve them.
_PIXELS_A_FRAME = 20_000


class Form(Enum):
    """The forms whose data can be told apart."""

    METRES = auto()
    INVERSE = auto()
    NORMALISED_INVERSE = auto()


def contradictions(values: Tensor, form: Form) -> list[str]:
    """Return warnings where raw values contradict their declared form.

    Args:
        values: [F, H, W] float, as they came: NaN, infinity, zero and negative values included.
        form: what they are declared to be.

    Returns:
        Sentences for the user; empty if nothing speaks against the declaration (which proves nothing).
    """
    ends = []
    for part in map_parts(values):
        finite = values[part][torch.isfinite(values[part])]
        if len(finite):
            ends.append(torch.stack(finite.aminmax()))
    if not ends:
        return []
    low, high = float(torch.stack(ends).amin()), float(torch.stack(ends).amax())
    values = _thinned(values)
    finite = torch.isfinite(values)
    if high - low <= 1e-6 * abs(high):
        return [f"All pixels hold the same value ({high:.4g}): the depth map is empty."]
    warnings = _constant_frames(values, finite)
    warnings += _range_warnings(values[finite], low, high, form)
    return warnings or _shape_warnings(values, finite, high - low, form)


def map_parts(maps: Tensor) -> Iterator[tuple[int, slice]]:
    """Cut maps [F, H, W] into frames and some of their rows, with a cancel point before each part."""
    for frame in range(len(maps)):
        for rows in bounded_slices(maps.shape[1], maps.shape[2]):
            yield frame, rows


def colour_finding(channels: Tensor) -> tuple[str, ...]:
    """Return a warning if channels [F, H, W, C] are colours, not grey; else nothing."""
    if channels.shape[-1] == 1:
        return ()
    low, high = _thinned(channels).aminmax(dim=-1)
    span = float(high.nan_to_num(0, 0, 0).max() - low.nan_to_num(0, 0, 0).min())
    if not span or float((high - low > _CHANNEL_TOLERANCE * span).float().mean()) < 0.01:
        return ()
    return (
        "The depth image is colored, so its channels were averaged. Switch the depth node's color map to gray: "
        "a color map cannot be turned back into depth.",
    )


def eight_bit_levels(images: Tensor) -> int:
    """Return how many levels images [F, H, W, C] in [0, 1] have that went through 8 bit; 0 for all others."""
    levels = torch.zeros(256, dtype=torch.bool)
    for frame in images[..., 0]:
        cancel_point()
        counted = _thinned(frame[None]).float() * 255
        level = counted.round()
        # Half precision, and another pack's arithmetic, are off by less than a tenth of a step.
        if not bool(((counted - level).abs() < 0.1).all()) or bool(((level < 0) | (level > 255)).any()):
            return 0
        levels[level.long().flatten().cpu()] = True
    count = int(levels.sum())
    return count if count > 1 else 0


def _thinned(maps: Tensor) -> Tensor:
    """Return every n-th row and column of [F, H, W, ...]."""
    step = max(1, int((maps.shape[1] * maps.shape[2] / _PIXELS_A_FRAME) ** 0.5))
    return maps[:, ::step, ::step]


def _constant_frames(values: Tensor, finite: Tensor) -> list[str]:
    low = values.masked_fill(~finite, torch.inf).amin(dim=(1, 2))
    high = values.masked_fill(~finite, -torch.inf).amax(dim=(1, 2))
    flat = (high <= low).nonzero().flatten().tolist()  # constant, or without one finite pixel
    return [f"{len(flat)} frames hold one value only or none (first: frame {flat[0]})."] if flat else []


def _range_warnings(values: Tensor, low: float, high: float, form: Form) -> list[str]:
    if form is Form.METRES:
        if abs(low) <= _STRETCH_TOLERANCE and abs(high - 1) <= _STRETCH_TOLERANCE:
            return [
                "Declared metric depth, but the values fill exactly 0 to 1: they look normalised, without metres. "
                "Declare normalised inverse depth and align it to a metric depth."
            ]
        median = float(values[values > 0].median()) if (values > 0).any() else 0.0
        if median > _LARGEST_MEDIAN_METRES:
            return [
                f"Declared metric depth, but half the pixels lie beyond {median:.4g} m: these look like millimetres "
                "or 8-bit gray values. Choose their unit."
            ]
    outside = low < -_STRETCH_TOLERANCE or high > 1 + _STRETCH_TOLERANCE
    if form is Form.NORMALISED_INVERSE and outside:
        return [
            f"Declared normalised inverse depth, but values run from {low:.4g} to {high:.4g} instead of 0 to 1. "
            "Declare metric depth or inverse depth."
        ]
    return []


def _shape_warnings(values: Tensor, finite: Tensor, span: float, form: Form) -> list[str]:
    """Warn where the lower part looks far, or where bright dominates a stretched input."""
    quarter = max(1, values.shape[1] // 4)
    counts = finite & (values > 0) if form is Form.METRES else finite
    upper, lower = values[:, :quarter][counts[:, :quarter]], values[:, -quarter:][counts[:, -quarter:]]
    if not len(upper) or not len(lower):
        return []
    lower_excess = float(lower.median() - upper.median()) / span
    if form is Form.METRES and lower_excess > _CLEAR_DIRECTION:
        return [
            "Declared metric depth, but the lower part of the image has larger values than the upper part, so it "
            "may be inverse depth. Check the meaning unless a ceiling or an object overhead fills the image."
        ]
    if form is not Form.METRES and lower_excess < -_CLEAR_DIRECTION:
        return [
            f"Declared {'inverse' if form is Form.INVERSE else 'normalised inverse'} depth (near is bright), but "
            "the lower part of the image is darker than the upper part, so it looks inverted. Invert the image or "
            "declare metric depth."
        ]
    median = float(values[finite].median())
    if form is Form.NORMALISED_INVERSE and median > _BRIGHT_MEDIAN:
        return [
            f"Declared normalised inverse depth, but most of it is bright (median {median:.2f}): this looks like "
            "MoGe's image, 1 - minmax(depth), which is not inverse depth. Use MoGe's metric depth output instead."
        ]
    return []
