"""Overlapping windows over the frames of a clip that is longer than what is computed at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Windows:
    """How a clip is divided.

    Attributes:
        length: frames of a window.
        overlap: frames that neighbouring windows share, at least.

    Raises:
        ValueError: if windows have no frame of their own.
    """

    length: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.length:
            raise ValueError(
                f"Windows overlap by less than their length, got an overlap of {self.overlap} frames and a length of "
                f"{self.length}."
            )

    def over(self, n_frames: int) -> list[range]:
        """Return the windows of a clip, all of one length, from the first frame to the last; one for a short clip."""
        if n_frames <= self.length:
            return [range(n_frames)]
        count = 1 + -(-(n_frames - self.length) // (self.length - self.overlap))
        last = n_frames - self.length
        # Evenly spread, so that no pair of neighbours shares more than others need to.
        starts = [round(number * last / (count - 1)) for number in range(count)]
        return [range(start, start + self.length) for start in starts]

    def weighted(self, n_frames: int) -> Iterator[tuple[range, list[float]]]:
        """Give each window of a clip with the weight of its frames [length]: of a clip's frame they add up to 1.

        From its ends inward a window's weight rises linearly over what it shares with its neighbour, as the
        neighbour's falls; at the ends of the clip it is 1.
        """
        windows = self.over(n_frames)
        raw = []
        for number, frames in enumerate(windows):
            before = windows[number - 1].stop - frames.start if number else 0
            after = frames.stop - windows[number + 1].start if number + 1 < len(windows) else 0
            raw.append(
                [
                    min(1.0, (place + 1) / (before + 1), (len(frames) - place) / (after + 1))
                    for place in range(len(frames))
                ]
            )
        total = [0.0] * n_frames
        for frames, weights in zip(windows, raw):
            for frame, weight in zip(frames, weights):
                total[frame] += weight
        for frames, weights in zip(windows, raw):
            yield frames, [weight / total[frame] for frame, weight in zip(frames, weights)]
