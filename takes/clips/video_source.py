"""A video file as a clip: exact times from its packets, frames from near the first that is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ..video import open_video
from .color import bits_of, curve_of, has_alpha, is_wide, pixels_of
from .orientation import UPRIGHT, Orientation, of_display_matrix
from .sound import read_sound
from .source import Header

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Each thread holds frames of its own: of 4K in 10 bit, four more than the decoder itself needs are 0.1 GB.
_MOST_THREADS = 4
# Containers without times of their own: what FFmpeg makes up for them is in the order of decoding.
_UNTIMED = ("avi", "h264", "hevc", "m4v", "mpegvideo", "vvc", "obu", "mjpeg")
# A single file with more frames than this would take minutes to look through.
_MOST_FRAMES = 2_000_000


@dataclass(frozen=True)
class _Timeline:
    """When frames are shown.

    Attributes:
        stamps: of the frames in the stream's time base, rising; None where the file has none for some, so that frames
            are counted.
        count: of the frames.
    """

    stamps: tuple[int, ...] | None
    count: int


class VideoSource:
    """A video file; see `ClipSource`.

    Raises:
        ValueError: if the file is missing, holds no video, or is truncated or corrupt.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.remarks: list[str] = []
        with open_video(path) as (container, stream):
            self._base = stream.time_base or Fraction(1, 90_000)
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            self._timeline = _read_timeline(container, stream, counted=container.format.name in _UNTIMED)
        first = self._first_frame()
        stamps = self._timeline.stamps
        self._zero = stamps[0] * self._base if stamps else None
        times = (
            tuple(float((stamp - stamps[0]) * self._base) for stamp in stamps)
            if stamps
            else tuple(index / (rate or 30.0) for index in range(self._timeline.count))
        )
        self.header = _header(first, times, rate, self._codec)

    def pictures(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `ClipSource`."""
        yield from (pixels_of(frame, deep=bool(self.header.curve)) for frame in self.frames(frames))

    def frames(self, frames: Sequence[int]) -> Iterator[VideoFrame]:
        """Give frames as they are decoded; otherwise as `pictures`."""
        size = (self.header.height, self.header.width)
        given = 0
        for frame in self._frames(frames):
            if (frame.height, frame.width) != size:
                raise ValueError(
                    f"The frames of {self._path.name} differ in size: {size[1]} x {size[0]}, then {frame.width} x "
                    f"{frame.height}. Re-encode it to H.264 in an MP4."
                )
            given += 1
            yield frame
        if given < len(frames):
            raise ValueError(
                f"{self._path.name} ends or is damaged after frame {frames[given - 1] if given else 0} of its "
                f"{self.header.count} (counted from 0). Copy it again, or choose an earlier part."
            )

    def sound(self, start: float, seconds: float) -> dict[str, object] | None:
        """See `ClipSource`."""
        sound, remark = read_sound(self._path, float(self._zero or 0) + start, seconds)
        self.remarks += [remark] if remark else []
        return sound

    def _first_frame(self) -> VideoFrame:
        with open_video(self._path) as (container, stream):
            context = stream.codec_context
            self._codec = (context.name, context.color_trc, context.color_primaries, stream.sample_aspect_ratio)
            require_memory(
                6 * FLOAT * stream.width * stream.height,
                f"One frame of {self._path.name} at {stream.width} x {stream.height}",
                "Scale the video down.",
            )
            _few_threads(stream)
            for frame in container.decode(stream):
                cancel_point()
                return frame
        raise ValueError(f"{self._path.name} contains no frame that can be decoded. Re-encode it to H.264 in an MP4.")

    def _frames(self, wanted: Sequence[int]) -> Iterator[VideoFrame]:
        """Give the wanted frames: from near the first where the file can jump, else counted from its start."""
        stamps = self._timeline.stamps
        if stamps is None:
            yield from self._counted(wanted)
            return
        for seek in (True, False):
            with open_video(self._path) as (container, stream):
                _few_threads(stream)
                if seek and wanted[0]:
                    container.seek(stamps[wanted[0]], stream=stream)
                found = self._by_stamp(container, stream, [stamps[index] for index in wanted])
                first = next(found, None)
                if first is None and seek and wanted[0]:
                    continue  # some files have no usable index: then everything is decoded from the start
                if first is not None:
                    yield first
                    yield from found
            return

    def _by_stamp(self, container: InputContainer, stream: VideoStream, wanted: list[int]) -> Iterator[VideoFrame]:
        """Give for each time the frame that is shown then; nothing where decoding starts too late."""
        shown: VideoFrame | None = None
        place = stood_in = 0
        for frame in container.decode(stream):
            cancel_point()
            if frame.pts is None:
                continue
            while place < len(wanted) and frame.pts > wanted[place]:
                if shown is None:
                    return
                stood_in += 1  # its own frame did not come
                yield shown
                place += 1
            if place == len(wanted):
                break
            shown = frame
            if frame.pts == wanted[place]:
                yield frame
                place += 1
                if place == len(wanted):
                    break
        if place == len(wanted) - 1 and shown is not None:  # the last packet of some files holds no picture
            stood_in += 1
            yield shown
        if stood_in:
            self.remarks.append(f"{stood_in} frames could not be decoded; the ones before stand in for them.")

    def _counted(self, wanted: Sequence[int]) -> Iterator[VideoFrame]:
        place = 0
        with open_video(self._path) as (container, stream):
            _few_threads(stream)
            for index, frame in enumerate(container.decode(stream)):
                cancel_point()
                if index == wanted[place]:
                    yield frame
                    place += 1
                    if place == len(wanted):
                        return


def _read_timeline(container: InputContainer, stream: VideoStream, counted: bool) -> _Timeline:
    """Read when frames are shown, without decoding any: as edit lists have it, whatever the rate."""
    stamps: set[int] = set()
    count, complete = 0, not counted
    for packet in container.demux(stream):
        cancel_point()
        if not packet.size or packet.is_discard:
            continue
        count += 1
        if packet.pts is None:
            complete = False
        else:
            stamps.add(packet.pts)
        if count > _MOST_FRAMES:
            raise ValueError(f"The video has more than {_MOST_FRAMES:,} frames. Cut it into shorter files.")
    if not count:
        raise ValueError("The video contains no frames. Re-encode it to H.264 in an MP4.")
    return _Timeline(tuple(sorted(stamps)) if complete else None, len(stamps) if complete else count)


def _few_threads(stream: VideoStream) -> None:
    stream.codec_context.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)


def _header(frame: VideoFrame, times: tuple[float, ...], rate: float, codec: tuple[Any, ...]) -> Header:
    name, transfer, primaries, sample_aspect = codec
    orientation = _orientation(frame)
    remarks = [] if orientation is not None else ["It asks to be turned by no quarter turn; it is shown as stored."]
    orientation = orientation or UPRIGHT
    aspect = float(sample_aspect) if sample_aspect else 1.0
    aspect = aspect if 0.05 < aspect < 20 else 1.0
    curve, bits = curve_of(transfer), bits_of(frame)
    kind = ", ".join([name, *([f"{bits} bit"] if bits > 8 else []), *([curve] if curve else [])])
    if getattr(frame, "interlaced_frame", False):
        remarks.append("It is interlaced: each frame holds the lines of two moments. Deinterlace it where things move.")
    if has_alpha(frame):
        remarks.append("Transparent parts lie over black.")
    return Header(
        times,
        rate,
        frame.width,
        frame.height,
        len(times),
        kind,
        pixel_aspect=1 / aspect if orientation.turns % 2 else aspect,
        orientation=orientation,
        curve=curve,
        wide=is_wide(primaries) or is_wide(frame.colorspace),
        remarks=tuple(remarks),
    )


def _orientation(frame: VideoFrame) -> Orientation | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if data is None else of_display_matrix(bytes(data))
