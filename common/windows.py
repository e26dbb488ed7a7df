"""Overlapping windows over the frames of a clip that is longer than what is computed at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


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

    def weighted(self, n_frames: int) -> Iterator[tuple[range, Tensor]]:
        """Give each window of a clip with the weight of its frames [length]: of a clip's frame they add up to 1.

        From its ends inward a window's weight rises linearly over what it shares with its neighbour, as the
        neighbour's falls; at the ends of the clip it is 1.
        """
        windows = self.over(n_frames)
        raw = []
        for number, frames in enumerate(windows):
            weight = torch.ones(len(frames))
            for other, is_before in ((number - 1, True), (number + 1, False)):
                if 0 <= other < len(windows):
                    shared = windows[other].stop - frames.start if is_before else frames.stop - windows[other].start
                    ramp = torch.arange(1, shared + 1) / (shared + 1)
                    part = slice(0, shared) if is_before else slice(len(frames) - shared, None)
                    weight[part] = torch.minimum(weight[part], ramp if is_before else ramp.flip(0))
            raw.append(weight)
        total = torch.zeros(n_frames)
        for frames, weight in zip(windows, raw):
            total[frames.start : frames.stop] += weight
        for frames, weight in zip(windows, raw):
            yield frames, weight / total[frames.start : frames.stop]
