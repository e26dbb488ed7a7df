"""A gray video as depth: its brightness, as exact as the file has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..clips.color import bits_of, pixels_of
from ..clips.video_source import VideoSource
from .source import gray_of

if TYPE_CHECKING:
    from av import VideoFrame

_STUDIO, _FULL = 1, 2  # FFmpeg's numbers of color ranges
# Colors of video are kept at half the size and coded roughly: this much of the range is no color yet.
_NO_COLOR = 0.05
_SHARE = 0.01


class GrayVideo:
    """A video file; see `DepthSource`."""

    def __init__(self, path: Path) -> None:
        self._video = VideoSource(path)
        header = self._video.header
        self._orientation, self._name = header.orientation, path.name
        self.count, self.size = header.count, header.orientation.size(header.width, header.height)
        first = next(iter(self._video.frames([0])))
        bits = bits_of(first)
        self.white = float(2**bits - 1)
        self.kind = f"{header.kind.split(',')[0]} video, {bits} bit"
        self.remarks: list[str] = []
        self._colored = False

    def maps(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `DepthSource`."""
        for frame in self._video.frames(frames):
            gray, colored = _brightness(frame, self.white)
            if colored and not self._colored:
                self._colored = True
                self.remarks.append(
                    f"{self._name} is colored, and only its brightness counts: a color map cannot be turned back into "
                    "depth. Save the depth in gray."
                )
            yield self._orientation.upright(gray[..., None])[..., 0]
        self.remarks += [remark for remark in self._video.remarks if remark not in self.remarks]


def _brightness(frame: VideoFrame, white: float) -> tuple[Tensor, bool]:
    """Return brightness [H, W] from 0 to `white`, and whether the frame has colors."""
    name = frame.format.name
    if not name.startswith(("gray", "yuv")):
        gray, colored = gray_of(pixels_of(frame, deep=white > 255))
        return gray * white, colored
    bits = bits_of(frame)
    gray = _plane(frame, 0, bits)
    is_full = int(frame.color_range) == _FULL or name.startswith("yuvj")
    if not is_full and (not name.startswith("gray") or int(frame.color_range) == _STUDIO):
        # Black is 16 and white 235 of 255, as videos have it.
        step = 2.0 ** (bits - 8)
        gray = ((gray - 16 * step) / (219 * step)).clamp(0, 1) * white
    if len(frame.planes) < 3:
        return gray, False
    middle = 2.0 ** (bits - 1)
    off = torch.stack([(_plane(frame, which, bits) - middle).abs() for which in (1, 2)]) > _NO_COLOR * white
    return gray, float(off.float().mean()) > _SHARE


def _plane(frame: VideoFrame, which: int, bits: int) -> Tensor:
    import numpy as np

    plane = frame.planes[which]
    order = ">" if frame.format.is_big_endian else "<"
    dtype = np.dtype(np.uint8 if bits <= 8 else f"{order}u2")
    rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    return torch.from_numpy(rows[: plane.height, : plane.width].astype(np.float32))
