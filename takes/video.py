"""Videos as tensors, through PyAV: read any clip, write H.264."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..common.whole_file import whole_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# x264's constant rate factor: 0 is lossless, 51 the worst. 18 is about where an eye sees no loss.
DEFAULT_CRF = 18


def read_video(
    path: str | os.PathLike[str],
    max_frames: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, float]:
    """Decode the first video stream of a file.

    Args:
        path: any file that FFmpeg decodes.
        max_frames: decode no more than this many frames; `None` decodes all.
        progress: called with (done, total) after each frame; the total is what the file claims, where it claims one.

    Returns:
        Frames [F, H, W, 3] float32 in [0, 1], and the frame rate in frames a second.

    Raises:
        ValueError: if the file is missing, holds no video, or is torn or corrupt.
    """
    import numpy as np

    frames = []
    with open_video(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        claimed = min(stream.frames, max_frames) if max_frames else stream.frames
        for _, frame in zip(_counter(max_frames), container.decode(stream)):
            frames.append(frame.to_ndarray(format="rgb24"))
            if progress:
                progress(len(frames), max(claimed, len(frames)))
    if not frames or not rate:
        raise ValueError(f"{path} holds no frame or no frame rate. Re-encode it to H.264 in an MP4.")
    return torch.from_numpy(np.stack(frames)).float().div_(255), float(rate)


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file for decoding; gives its container and its first video stream.

    Raises:
        ValueError: if the file is missing, holds no video, or turns out torn or corrupt inside the block.
    """
    import av

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no video at {path}. Check the name; a take's videos keep the names of its dataset.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} holds no video stream. Give a video file, such as an MP4.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(
            f"{path} is no readable video ({error.strerror}). Copy it again, or re-encode it to H.264 in an MP4."
        ) from error


def write_video(path: str | os.PathLike[str], frames: Tensor, fps: float, crf: int = DEFAULT_CRF) -> None:
    """Write frames as H.264 with 4:2:0 chroma, which every player reads.

    The file appears whole or not at all. 4:2:0 needs even sizes: an odd last row or column is repeated once.

    Args:
        path: the file to write, ending in `.mp4`, `.mkv` or `.mov`; its folder is made.
        frames: [F, H, W, 3] in [0, 1]; values outside are clipped.
        fps: frames a second.
        crf: x264's constant rate factor, 0 (lossless) to 51.

    Raises:
        ValueError: if the frames have another shape, or the frame rate is not positive.
    """
    import av

    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.shape[0] == 0:
        raise ValueError(f"Expected frames [F, H, W, 3] with at least one frame, got {list(frames.shape)}.")
    if not fps > 0:
        raise ValueError(f"Expected a positive frame rate, got {fps}.")
    height, width = (size + size % 2 for size in frames.shape[1:3])
    with whole_file(path) as unfinished, av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf)}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(_even_picture(frame, width, height).numpy(), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _even_picture(frame: Tensor, width: int, height: int) -> Tensor:
    """Bring one frame [H, W, 3] to contiguous 8 bits of an even size."""
    picture = frame.detach().cpu().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    if picture.shape[0] != height:
        picture = torch.cat([picture, picture[-1:]], dim=0)
    if picture.shape[1] != width:
        picture = torch.cat([picture, picture[:, -1:]], dim=1)
    return picture.contiguous()


def _counter(limit: int | None) -> Iterator[int]:
    """Count up to `limit`, or forever."""
    count = 0
    while limit is None or count < limit:
        yield count
        count += 1
