"""Which frames of a clip are taken: by time, so that any rate comes out even."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ...common.wan_grid import fits_wan, fitting_frames

# Rates that cameras have; a measured one this close is meant.
_KNOWN = (
    24000 / 1001,
    24.0,
    25.0,
    30000 / 1001,
    30.0,
    48.0,
    50.0,
    60000 / 1001,
    60.0,
    100.0,
    120000 / 1001,
    120.0,
    240.0,
)
_CLOSE = 2e-4
# Of a frame's duration: times in files are rounded.
_ROUNDING = 0.02


@dataclass(frozen=True)
class Part:
    """Which part of a clip is wanted.

    Attributes:
        start: seconds from the clip's first frame.
        frames: how many.
        rate: frames a second; 0 keeps the clip's own.
    """

    start: float = 0.0
    frames: int = 49
    rate: float = 0.0


@dataclass(frozen=True)
class Choice:
    """The frames that are taken.

    Attributes:
        frames: number of the clip's frame, counted from 0, for each that is handed out.
        fps: frames a second of the result.
        remarks: what differs from what was wanted, as sentences.
    """

    frames: tuple[int, ...]
    fps: float
    remarks: tuple[str, ...]


def measured_rate(times: Sequence[float], stated: float) -> float:
    """Return a clip's frames a second.

    Args:
        times: of its frames in seconds, from 0, rising.
        stated: what its file states; 0 for nothing. It counts where the times keep to it.
    """
    if stated and all(abs(time - index / stated) * stated < 0.45 for index, time in enumerate(times)):
        return stated
    if len(times) < 2 or times[-1] <= 0:
        return stated or 30.0
    rate = (len(times) - 1) / times[-1]
    return next((known for known in _KNOWN if abs(rate / known - 1) < _CLOSE), rate)


def choose(times: Sequence[float], rate: float, part: Part) -> Choice:
    """Choose the frame that is nearest in time to each one wanted.

    Args:
        times: of the clip's frames in seconds, from 0, rising.
        rate: the clip's own frames a second.
        part: what is wanted.

    Raises:
        ValueError: if the clip ends before the part starts.
    """
    end = times[-1] + 1 / rate  # of the last frame
    if part.start > times[-1] + 0.5 / rate and part.start > 0:
        raise ValueError(
            f"The clip has {end:.2f} s and starts at 0, so nothing is left from {part.start:g} s on. Choose a start "
            f"below {end:.2f}."
        )
    fps = part.rate or rate
    there = max(1, math.floor((end - part.start) * fps + _ROUNDING))
    count, remarks = fitting_frames(min(part.frames, there)), []
    if there < part.frames:
        from_start = f" from {part.start:g} s on" if part.start else ""
        remarks.append(f"The clip has only {there} frames{from_start} at {fps:.5g} fps, not {part.frames}.")
    if not fits_wan(min(part.frames, there)):
        remarks.append(f"Cut to {count}, as Wan samples 4n+1 frames.")
    frames = tuple(_nearest(times, part.start + index / fps) for index in range(count))
    if repeated := len(frames) - len(set(frames)):
        remarks.append(
            f"{repeated} frames stand twice or more: the clip has fewer a second than {fps:.5g}. "
            "A frame_rate of 0 keeps its own."
        )
    return Choice(frames, fps, tuple(remarks))


def _nearest(times: Sequence[float], time: float) -> int:
    after = bisect_left(times, time)
    if after == 0:
        return 0
    if after == len(times):
        return after - 1
    # Of two as near, the earlier; times of files are rounded.
    return after if times[after] - time < time - times[after - 1] - 1e-6 else after - 1
