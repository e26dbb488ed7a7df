"""Runs in pairs: the baseline, then a case, in turn. What a busy neighbour costs falls on both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch

from .context import NOBODY, Watch

Result = TypeVar("Result")


class Lap(NamedTuple):
    """Seconds of one run: wall clock, and CPU time of this process, all threads."""

    wall: float
    cpu: float


# Pairs of every case that are run although time is up: a median of fewer tells nothing of the spread.
_FEWEST = 3


def median(laps: Iterable[Lap]) -> float:
    """Return the median wall clock."""
    return statistics.median(lap.wall for lap in laps)


@dataclass(frozen=True)
class Pairs:
    """Laps of a case, each with the lap of the baseline that ran just before."""

    baseline: list[Lap]
    case: list[Lap]

    @property
    def seconds(self) -> float:
        """Median wall clock of the case."""
        return median(self.case)

    @property
    def ratio(self) -> float:
        """Median of the pairs' ratios, wall clock."""
        return statistics.median(self._ratios())

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest of the pairs' ratios, wall clock."""
        ratios = self._ratios()
        return min(ratios), max(ratios)

    def _ratios(self) -> list[float]:
        return [case.wall / base.wall for base, case in zip(self.baseline, self.case)]

    @property
    def cpu_ratio(self) -> float:
        """Median of the pairs' ratios, CPU time: on a busy processor the number to compare."""
        return statistics.median(case.cpu / base.cpu for base, case in zip(self.baseline, self.case))


def timed(run: Callable[[], Result], device: torch.device) -> tuple[Result, Lap]:
    """Run something to its end, on the GPU as well, and return its result and how long it took."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    _wait(device)
    return result, Lap(time.perf_counter() - wall, time.process_time() - cpu)


def measure(
    baseline: Callable[[], tuple[object, Lap]],
    cases: Mapping[str, Callable[[], tuple[object, Lap]]],
    repeats: int,
    watch: Watch = NOBODY,
) -> dict[str, Pairs]:
    """Run every case `repeats` times, the baseline before each; all of them have been warmed up.

    Where the watch says that time is up, three pairs of each have to do.
    """
    pairs = {name: Pairs([], []) for name in cases}
    for done in range(repeats):
        if done >= _FEWEST and watch.is_late:
            break
        for name, run in cases.items():
            watch.begin(name)
            pairs[name].baseline.append(baseline()[1])
            pairs[name].case.append(run()[1])
    return pairs


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
