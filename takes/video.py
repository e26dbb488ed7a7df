"""Videos as tensors, through PyAV: read any clip or chosen frames of a long one, write H.264."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..common.cancel import cancel_point
from ..common.memory import FLOAT, require_memory
from ..common.paths import is_file
from ..common.whole_file import whole_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# FFmpeg's mark of a stream that is a cover.
_ATTACHED_PICTURE = 0x400
# x264's constant rate factor: 0 is lossless, 51 the worst. 18 is about where an eye sees no loss.
DEFAULT_CRF = 18


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
    frames = []
    with open_video(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        claimed = min(stream.frames, max_frames) if max_frames else stream.frames
        _require_memory(path, stream, claimed)
        for _, frame in zip(_counter(max_frames), container.decode(stream)):
            cancel_point()
            if len(frames) > claimed and len(frames).bit_count() == 1:  # it has more than it claims
                _require_memory(path, stream, 2 * len(frames))
            frames.append(frame.to_ndarray(format="rgb24"))
            if progress:
                progress(len(frames), max(claimed, len(frames)))
    if not frames or not rate:
        raise ValueError(f"{path} contains no frames or no frame rate. Re-encode it to H.264 in an MP4.")
    video = torch.empty(len(frames), *frames[0].shape)
    for index, frame in enumerate(frames):
        cancel_point()
        if frame.shape != frames[0].shape:
            raise ValueError(f"The frames of {path} differ in size. Re-encode it to H.264 in an MP4.")
        torch.div(torch.from_numpy(frame), 255, out=video[index])
    return video, float(rate)


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Read a video's header.

    Raises:
        ValueError: if the file is not a readable video, or does not state its frame rate or number of frames.
    """
    with open_video(path) as (_, stream):
        rate, n_frames = stream.average_rate, stream.frames
        if not rate or not n_frames:
            raise ValueError(
                f"{path} does not state its frame rate or number of frames. Re-encode it to H.264 in an MP4."
            )
        return VideoInfo(n_frames, float(rate), stream.width, stream.height)


def read_frames(
    path: str | os.PathLike[str],
    indices: Sequence[int],
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Decode chosen frames of a video with a constant frame rate.

    Only these are kept, and decoding starts near the first.

    Args:
        path: any file that FFmpeg decodes.
        indices: frame numbers from 0, rising.
        size: (width, height) in pixels to which each picture is resized, without cropping and with antialiasing;
            `None` keeps the video's.
        progress: called with (done, total) after each chosen frame.

    Returns:
        [N, H, W, 3] float32 in [0, 1].

    Raises:
        ValueError: if the file is not a readable video, or has no such frame.
    """
    wanted = list(indices)
    if not wanted or wanted[0] < 0 or wanted != sorted(set(wanted)):
        raise ValueError(f"Expected rising frame numbers from 0 on, got {wanted[:10]}.")
    for seek in (True, False):  # some files have no usable index: then everything is decoded from the start
        with open_video(path) as (container, stream):
            _require_memory(path, stream, 1)  # decoded whole, whatever is kept of it
            _require_memory(path, stream, 2 * len(wanted), size)
            pictures = _collect(container, stream, wanted, size, progress, seek)
        if len(pictures) == len(wanted):
            return torch.stack(pictures)
    raise ValueError(
        f"{path} has no frame {wanted[len(pictures)]} (frames are counted from 0), or its frame rate is not constant. "
        "Copy it again, or choose an earlier part."
    )


def _require_memory(
    path: str | os.PathLike[str], stream: VideoStream, n_frames: int, size: tuple[int, int] | None = None
) -> None:
    """Refuse a video whose frames, kept as bytes and then as floats, would not fit into memory."""
    width, height = size or (stream.width, stream.height)
    require_memory(
        3 * (1 + FLOAT) * max(1, n_frames) * width * height,
        f"{max(1, n_frames)} frames of {Path(path).name} at {width} x {height}",
        "Read fewer frames, or scale the video down.",
    )


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file for decoding; gives its container and its first video stream that is no cover picture.

    Raises:
        ValueError: if the file is missing, holds no video, or turns out torn or corrupt inside the block.
    """
    import av

    path = Path(path)
    if not is_file(path):
        raise ValueError(f"There is no video at {path}. Check the name; a take's videos keep the names of its dataset.")
    try:
        # Titles and comments in whatever letters: nothing here reads them.
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError(f"{path} contains no video stream. Give a video file, such as an MP4.")
            stream = _main_stream(container)
            if stream.codec_context is None:
                raise ValueError(f"{path} is coded in a way that is not known. Re-encode it to H.264 in an MP4.")
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, UnicodeError) as error:
        why = "no text in UTF-8" if isinstance(error, UnicodeError) else error.strerror
        raise ValueError(
            f"{path} is not a readable video ({why}). Copy it again, or re-encode it to H.264 in an MP4."
        ) from error


def _main_stream(container: InputContainer) -> VideoStream:
    """Return the stream that a player shows: a cover picture may come first."""
    streams = container.streams.video
    moving = [stream for stream in streams if not int(getattr(stream.disposition, "value", 0)) & _ATTACHED_PICTURE]
    best = container.streams.best("video")
    return best if best in moving else (moving or streams)[0]


def write_video(path: str | os.PathLike[str], frames: Tensor, fps: float, crf: int = DEFAULT_CRF) -> None:
    """Write frames as H.264 with 4:2:0 chroma, which every player reads.

    The same frames give the same bytes. The file appears whole or not at all. 4:2:0 needs even sizes: an odd last row
    or column is repeated once.

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
        # On some processors x264's macroblock tree reads memory that nobody wrote: pictures differ from run to run.
        stream.options = {"crf": str(crf), "x264-params": "mbtree=0"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(_even_picture(frame, width, height).numpy(), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


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
        cancel_point()
        if frame.pts is None:
            break
        index = round((frame.pts - start) * stream.time_base * rate)
        if index > wanted[len(pictures)]:
            break
        if index == wanted[len(pictures)]:
            pictures.append(_resized(torch.from_numpy(frame.to_ndarray(format="rgb24")), size))
            if progress:
                progress(len(pictures), len(wanted))
            if len(pictures) == len(wanted):
                break
    return pictures


def _resized(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Bring 8-bit pixels [H, W, 3] to [h, w, 3] float32 in [0, 1]."""
    picture = pixels.float() / 255
    return picture if size is None else squeezed(picture[None], *size)[0]


def squeezed(frames: Tensor, width: int, height: int) -> Tensor:
    """Resize frames [F, H, W, 3] in [0, 1] without cropping and with antialiasing: an axis each by its own factor."""
    if frames.shape[1:3] == (height, width):
        return frames
    resized = torch.nn.functional.interpolate(
        frames.movedim(-1, 1), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return resized.movedim(1, -1).clamp(0, 1)


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
