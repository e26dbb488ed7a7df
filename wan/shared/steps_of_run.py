"""The steps of a sampling run, counted by their noise levels."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

# Samplers compute some noise levels anew, in other precision than the schedule has.
_NEAR = 1e-5


class StepsOfRun:
    """The steps of a sampling run, counted by their noise levels.

    A level belongs to the last step of the schedule that begins at it or above: what a sampler evaluates twice in a
    step, or in between, is of that step. Schedules that go up again count by how deep they are.

    Args:
        sigmas: noise levels of the schedule, the last one its end.
    """

    def __init__(self, sigmas: Sequence[float]) -> None:
        self._negative_levels = [-level for level in sorted(set(sigmas[:-1]), reverse=True)]

    def __len__(self) -> int:
        return len(self._negative_levels)

    def at(self, sigma: float) -> int:
        """Return the step, from 0 on, to which a noise level belongs."""
        return max(0, bisect_right(self._negative_levels, -sigma * (1 - _NEAR)) - 1)
