"""Chosen frames of a long video: only these are kept, and decoding starts near the first."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .video import open_video

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header says.

    Attributes:
        n_frames: number of frames.
        fps: frames a second.
        width, height: picture size in pixels.
    """

    n_frames: int
    fps: float
    width: int
    height: int


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Read a video's header.

    Raises:
        ValueError: if the file is no readable video, or does not tell its frame rate or number of frames.
    """
    with open_video(path) as (_, stream):
        rate, n_frames = stream.average_rate, stream.frames
        if not rate or not n_frames:
            raise ValueError(
                f"{path} does not tell its frame rate or number of frames. Re-encode it to H.264 in an MP4."
            )
        return VideoInfo(n_frames, float(rate), stream.width, stream.height)


def read_frames(
    path: str | os.PathLike[str],
    indices: Sequence[int],
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Decode chosen frames of a video with a constant frame rate.

    Args:
        path: any file that FFmpeg decodes.
        indices: frame numbers from 0, rising.
        size: (width, height) in pixels to which each picture is resized, without cropping and with antialiasing;
            `None` keeps the video's.
        progress: called with (done, total) after each chosen frame.

    Returns:
        [N, H, W, 3] float32 in [0, 1].

    Raises:
        ValueError: if the file is no readable video, or has no such frame.
    """
    wanted = list(indices)
    if not wanted or wanted[0] < 0 or wanted != sorted(set(wanted)):
        raise ValueError(f"Expected rising frame numbers from 0 on, got {wanted[:10]}.")
    for seek in (True, False):  # some files have no usable index: then everything is decoded from the start
        with open_video(path) as (container, stream):
            pictures = _collect(container, stream, wanted, size, progress, seek)
        if len(pictures) == len(wanted):
            return torch.stack(pictures)
    raise ValueError(
        f"{path} has no frame {wanted[len(pictures)]} (frames are counted from 0), or its frame rate is not constant. "
        "Copy it again, or choose an earlier part."
    )


def _collect(
    container: InputContainer,
    stream: VideoStream,
    wanted: Sequence[int],
    size: tuple[int, int] | None,
    progress: Callable[[int, int], None] | None,
    seek: bool,
) -> list[Tensor]:
    """Return the wanted pictures [H, W, 3] up to the first one that is not found."""
    rate, start = stream.average_rate or Fraction(1), stream.start_time or 0
    if seek:
        container.seek(start + int(wanted[0] / rate / stream.time_base), stream=stream)
    pictures: list[Tensor] = []
    for frame in container.decode(stream):
        if frame.pts is None:
            break
        index = round((frame.pts - start) * stream.time_base * rate)
        if index > wanted[len(pictures)]:
            break
        if index == wanted[len(pictures)]:
            pictures.append(_picture(torch.from_numpy(frame.to_ndarray(format="rgb24")), size))
            if progress:
                progress(len(pictures), len(wanted))
            if len(pictures) == len(wanted):
                break
    return pictures


def _picture(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Bring 8-bit pixels [H, W, 3] to [h, w, 3] float32 in [0, 1]."""
    picture = pixels.float() / 255
    if size is None or size == (pixels.shape[1], pixels.shape[0]):
        return picture
    channels_first = picture.movedim(-1, 0)[None]
    resized = torch.nn.functional.interpolate(channels_first, size[::-1], mode="bilinear", antialias=True)
    return resized[0].movedim(0, -1).clamp(0, 1)
