"""Depth in pictures: PNG of 8 or 16 bit, TIFF of whole or floating-point numbers, single or stacked, and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ..clips.picture_source import missing_numbers, opened_picture, orientation_of
from ..files import read_whole
from .source import check_size, gray_of

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGEST = 2**31
_PNG_START = b"\x89PNG\r\n\x1a\n"
_FROM_START = 24  # where a PNG tells its bits
_HELP = (
    "Save it as a TIFF of one channel (32-bit float or 16 bit), a 16-bit PNG, OpenEXR or .npy: other kinds of TIFF, "
    "such as several floating-point channels or half precision, are not read."
)


class DepthPictures:
    """One picture a map, or a TIFF with one page a map; see `DepthSource`.

    Args:
        paths: the files in order; at least one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.remarks: list[str] = missing_numbers(paths)
        self._pages = 1
        if len(paths) == 1 and paths[0].suffix.lower() in (".tif", ".tiff"):
            with opened_picture(paths[0], _HELP) as image:
                self._pages = getattr(image, "n_frames", 1)
        first, self.white, form = self._read(0)
        self.count = max(len(paths), self._pages)
        self.size = (first.shape[1], first.shape[0])
        self.kind = f"{paths[0].suffix[1:].upper()}, {form}"
        self._colored = False

    def maps(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `DepthSource`."""
        for index in frames:
            cancel_point()
            channels, white, form = self._read(index)
            path = self._path(index)
            check_size(path.name, (channels.shape[1], channels.shape[0]), self.size)
            if white != self.white:
                raise ValueError(f"{path.name} holds {form}, unlike the first map. Save all maps in one way.")
            gray, colored = gray_of(channels)
            if colored and not self._colored:
                self._colored = True
                self.remarks.append(
                    f"{path.name} is colored, so its channels were averaged: a color map cannot be turned back into "
                    "depth. Save the depth in gray."
                )
            yield gray

    def _path(self, index: int) -> Path:
        return self._paths[0 if self._pages > 1 else index]

    def _read(self, index: int) -> tuple[Tensor, float, str]:
        """Return a map [H, W, C] float32, the number of white (0: none) and what it holds, in words."""
        path = self._path(index)
        if _is_deep_png(path):
            return _deep_png(path), 65535.0, "16 bit"
        with opened_picture(path, _HELP) as image:
            if self._pages > 1:
                image.seek(index)
            return _pixels(image, path.name)


def _is_deep_png(path: Path) -> bool:
    """Whether a file is a PNG of 16 bit, which Pillow cuts to 8 where it has colors or alpha."""
    try:
        with open(path, "rb") as file:
            start = file.read(_FROM_START + 1)
    except OSError:
        return False  # what reads it says why
    return start.startswith(_PNG_START) and start[_FROM_START:] == b"\x10"


def _deep_png(path: Path) -> Tensor:
    import av
    import numpy as np

    content = read_whole(path, _LARGEST)
    width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
    _require(path.name, width, height)
    context = av.CodecContext.create("png", "r")
    try:
        frames = context.decode(av.Packet(content)) or context.decode(None)
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(f"{path.name} is a truncated or corrupt PNG. Copy it again.") from error
    if not frames:
        raise ValueError(f"{path.name} is a truncated or corrupt PNG. Copy it again.")
    (frame,) = frames
    channels = {"gray16be": 1, "ya16be": 2, "rgb48be": 3, "rgba64be": 4}.get(frame.format.name)
    if channels is None:
        raise ValueError(f"{path.name} is a PNG of a kind that is not read ({frame.format.name}). {_HELP}")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, ">u2").reshape(frame.height, -1)[:, : frame.width * channels]
    return torch.from_numpy(rows.reshape(frame.height, frame.width, channels).astype(np.float32))


def _pixels(image: Image, name: str) -> tuple[Tensor, float, str]:
    import numpy as np

    _require(name, image.width, image.height)
    if image.mode == "F":
        values, white, form = np.asarray(image, np.float32), 0.0, "floating-point numbers"
    elif image.mode.startswith("I;16"):
        values, white, form = np.asarray(image).astype(np.float32), 65535.0, "16 bit"
    elif image.mode == "I":
        values, white, form = np.asarray(image).astype(np.float32), 0.0, "32-bit whole numbers"
    else:
        gray = image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")
        values, white, form = np.asarray(gray).astype(np.float32), 255.0, "8 bit"
    maps = torch.from_numpy(np.array(values))
    return orientation_of(image).upright(maps if maps.ndim == 3 else maps[..., None]), white, form


def _require(name: str, width: int, height: int) -> None:
    require_memory(8 * FLOAT * width * height, f"{name} at {width} x {height}", "Check the file, or scale it down.")
