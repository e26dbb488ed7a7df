"""Pictures as a clip: a still, an animation, or one file a frame."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, NotEnoughMemoryError, require_memory
from ...common.messages import few, frame_ranges
from .orientation import UPRIGHT, Orientation, of_exif
from .source import Header

if TYPE_CHECKING:
    from PIL.Image import Image

_EXIF_ORIENTATION = 0x0112
# Formats whose further pictures are frames; those of others are thumbnails, depth maps or pages.
_ANIMATED = {"GIF", "WEBP", "PNG", "AVIF"}
# What Pillow raises for broken files.
_FAULTS = (OSError, SyntaxError, EOFError, ValueError, TypeError, OverflowError, KeyError, struct.error)
# Milliseconds: browsers show frames of a shorter or no duration so long.
_LEAST_DURATION, _USUAL_DURATION = 11, 100


class AnimationSource:
    """A GIF, or an animated WebP, PNG or AVIF; see `ClipSource`. A still is one with a single frame.

    Raises:
        ValueError: if the file is not a picture, truncated or corrupt.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.remarks: list[str] = []
        with opened_picture(path) as image:
            count = getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
            times = [0.0]
            for index in range(count - 1):
                cancel_point()
                image.seek(index)
                image.load()  # WebP knows a frame's duration only then
                duration = float(image.info.get("duration") or 0)
                times.append(times[-1] + (duration if duration >= _LEAST_DURATION else _USUAL_DURATION) / 1000)
            still = " (a still)" if count == 1 else ""
            self.header = _header(image, tuple(times), count, f"{image.format}{still}")

    def pictures(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `ClipSource`."""
        with opened_picture(self._path) as image:
            for index in frames:
                cancel_point()
                if index:
                    image.seek(index)
                yield _pixels(image)

    def sound(self, start: float, seconds: float) -> None:
        """See `ClipSource`: there is none."""


class PicturesSource:
    """One file a frame; see `ClipSource`.

    Args:
        paths: the files in order; at least one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.remarks: list[str] = []
        with opened_picture(paths[0]) as image:
            header = _header(image, None, len(paths), f"{len(paths)} pictures")
        self.header = header
        self.remarks += missing_numbers(paths)

    def pictures(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `ClipSource`."""
        first = (self.header.width, self.header.height, self.header.orientation)
        for index in frames:
            cancel_point()
            with opened_picture(self._paths[index]) as image:
                if (*image.size, orientation_of(image)) != first:
                    raise ValueError(
                        f"{self._paths[index].name} has {image.size[0]} x {image.size[1]} pixels, and "
                        f"{self._paths[0].name} {first[0]} x {first[1]}, or it lies another way. Give pictures of one "
                        "size, or name those of one clip by a pattern such as shot_%04d.png."
                    )
                yield _pixels(image)

    def sound(self, start: float, seconds: float) -> None:
        """See `ClipSource`: there is none."""


@contextmanager
def opened_picture(path: Path, advice: str = "Save it again as PNG.") -> Iterator[Image]:
    """Open a picture.

    Args:
        path: the file.
        advice: what to do where it cannot be read.

    Raises:
        ValueError: if it is none, or turns out truncated or corrupt inside the block.
    """
    from PIL import Image as pillow

    try:
        with pillow.open(path) as image:
            yield image
    except pillow.DecompressionBombError as error:
        raise ValueError(f"{path.name} has more pixels than any clip. Make it smaller.") from error
    except NotEnoughMemoryError:
        raise
    except _FAULTS as error:
        if isinstance(error, ValueError) and path.name in str(error):
            raise
        raise ValueError(f"{path.name} is not a picture that can be read, or it is truncated. {advice}") from error


def _header(image: Image, times: tuple[float, ...] | None, count: int, kind: str) -> Header:
    remarks = ("Transparent parts lie over black.",) if _has_alpha(image) else ()
    return Header(times, 0.0, *image.size, count, kind, orientation=orientation_of(image), remarks=remarks)


def orientation_of(image: Image) -> Orientation:
    """Return what brings a picture upright, as its EXIF data say."""
    try:
        return of_exif(image.getexif().get(_EXIF_ORIENTATION))
    except (ValueError, SyntaxError, OSError, KeyError, TypeError):
        return UPRIGHT  # broken EXIF is no reason to refuse the picture


def _has_alpha(image: Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _pixels(image: Image) -> Tensor:
    """Return a picture's colors [H, W, 3] float32 in [0, 1]; what is transparent lies over black."""
    import numpy as np

    require_memory(
        4 * FLOAT * image.width * image.height, f"A picture of {image.width} x {image.height}", "Scale it down."
    )
    if image.mode.startswith("I"):  # 16 bit, which a conversion would clip to 8
        grey = torch.from_numpy(np.asarray(image, dtype=np.float32)) / 65535
        return grey.clamp(0, 1)[..., None].expand(-1, -1, 3).contiguous()
    if image.mode == "F":
        name = Path(str(getattr(image, "filename", ""))).name
        raise ValueError(f"{name} holds floating-point numbers, and does not say which is white. Save it as PNG.")
    mode = "RGBA" if _has_alpha(image) else "RGB"
    pixels = torch.from_numpy(np.array(image.convert(mode))).float() / 255
    return pixels[..., :3] * pixels[..., 3:] if mode == "RGBA" else pixels


def missing_numbers(paths: Sequence[Path]) -> list[str]:
    """Return a sentence on the numbers missing in the names' last number, where names differ in that alone."""
    parts = [re.findall(r"^(.*?)(\d+)(\D*)$", path.name) for path in paths]
    if not all(parts) or len({(found[0][0], found[0][2]) for found in parts}) != 1:
        return []
    numbers = {int(found[0][1]) for found in parts}
    missing = sorted(set(range(min(numbers), max(numbers) + 1)) - numbers)
    if not missing or max(numbers) - min(numbers) > 10 * len(numbers):
        return []
    return [
        f"Numbers are missing between the pictures ({few(frame_ranges(missing).split(', '))}); they follow one another "
        "without a gap."
    ]
