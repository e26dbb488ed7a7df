"""Which part of a picture is shown, how large, and where: the numbers of crop, squeeze and pad."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...geometry.cameras.aspect import same_aspect

# Pixels: that can be asked for, and that a side may have which follows the other one.
LARGEST_SIDE = 8192
_LONGEST_SIDE = 32_768


class Fit(str, Enum):
    """What happens where the wanted size has another shape than the clip."""

    CROP = "crop"
    """The largest part of that shape is kept."""
    SQUEEZE = "squeeze"
    """The whole picture is kept, and each axis scaled by its own factor."""
    PAD = "pad"
    """The whole picture is kept in its shape, between black bars."""


class Anchor(str, Enum):
    """Which part stays when one is cut off, and where the picture stands between bars."""

    CENTER = "center"
    TOP = "top"
    BOTTOM = "bottom"
    LEFT = "left"
    RIGHT = "right"

    @property
    def place(self) -> tuple[float, float]:
        """The share of what is left over that lies left and above."""
        return {"left": 0.0, "right": 1.0}.get(self.value, 0.5), {"top": 0.0, "bottom": 1.0}.get(self.value, 0.5)


@dataclass(frozen=True)
class Wanted:
    """The size that a picture should get.

    Attributes:
        width, height: in pixels; 0 follows the other one and the picture's shape, 0 for both keeps the clip's size.
        fit: what happens where the shape differs.
        anchor: which part stays.
    """

    width: int = 0
    height: int = 0
    fit: Fit = Fit.CROP
    anchor: Anchor = Anchor.CENTER


@dataclass(frozen=True)
class Framing:
    """A window of the upright picture, and where it goes.

    Attributes:
        window: left, top, width and height in pixels of the upright picture.
        size: width and height of the result in pixels.
        placed: left, top, width and height of the window in the result; around it are bars.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    placed: tuple[int, int, int, int]


def frame_picture(width: int, height: int, pixel_aspect: float, wanted: Wanted) -> Framing:
    """Return which window of a picture is shown, and where.

    Args:
        width: of the upright picture, in its pixels.
        height: likewise.
        pixel_aspect: width of a pixel over its height.
        wanted: the size.

    Raises:
        ValueError: if a side that follows the other one would be too long.
    """
    shown = (max(1, round(width * pixel_aspect)), height)
    size = _size(shown, wanted)
    if max(size) > _LONGEST_SIDE:
        raise ValueError(
            f"At this size the clip of {shown[0]} x {shown[1]} would have {size[0]} x {size[1]} pixels; expected at "
            f"most {_LONGEST_SIDE:,} a side. Give width and height."
        )
    whole, full = (0, 0, width, height), (0, 0, *size)
    if wanted.fit is Fit.SQUEEZE or same_aspect(shown, size):
        return Framing(whole, size, full)
    if wanted.fit is Fit.PAD:
        scale = min(size[0] / shown[0], size[1] / shown[1])
        inner = max(1, min(size[0], round(shown[0] * scale))), max(1, min(size[1], round(shown[1] * scale)))
        return Framing(whole, size, _placed(size, inner, wanted.anchor))
    kept = _part((width, height), size[0] / size[1] / pixel_aspect)
    return Framing(_placed((width, height), kept, wanted.anchor), size, full)


def _size(shown: tuple[int, int], wanted: Wanted) -> tuple[int, int]:
    width = wanted.width or (round(shown[0] * wanted.height / shown[1]) if wanted.height else shown[0])
    height = wanted.height or (round(shown[1] * wanted.width / shown[0]) if wanted.width else shown[1])
    return max(1, width), max(1, height)


def _part(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Return the largest part of a size whose width is `aspect` times its height."""
    width, height = size
    if height * aspect <= width:
        return max(1, round(height * aspect)), height
    return width, max(1, min(height, round(width / aspect)))


def _placed(outer: tuple[int, int], inner: tuple[int, int], anchor: Anchor) -> tuple[int, int, int, int]:
    across, down = anchor.place
    return round((outer[0] - inner[0]) * across), round((outer[1] - inner[1]) * down), *inner
