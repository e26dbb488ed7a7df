"""Bootstrap confidence intervals over clips, of a mean and of the difference of two methods on the same clips.

Frames of a clip are no independent samples, so that clips are what is drawn again (Efron and Tibshirani 1993, ch. 13:
the percentile interval). The spread between clips is far larger than that between methods, which is why methods are
compared by pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 10_000
LEVEL = 0.95
_AT_ONCE = 2**22  # numbers drawn in a piece


@dataclass(frozen=True)
class Interval:
    """A mean over clips and its confidence interval.

    Attributes:
        mean: NaN where no clip has a value.
        low, high: ends of the interval; NaN below two clips, which tell nothing of a spread.
        clips: how many clips have a value.
    """

    mean: float
    low: float
    high: float
    clips: int

    @property
    def has_ends(self) -> bool:
        """Whether there were clips enough for an interval."""
        return not math.isnan(self.low)

    def excludes_zero(self) -> bool:
        """Whether a difference differs from none at this level."""
        return self.has_ends and (self.low > 0 or self.high < 0)


def interval(
    values: Tensor | Sequence[float], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the mean of clips and its percentile bootstrap interval.

    Args:
        values: one number a clip [N]; clips with NaN are left out.
        level: share of the resampled means that lies within.
        resamples: how often as many clips are drawn with replacement.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ValueError: if the level is not between 0 and 1, or nothing is drawn.
    """
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"An interval takes a level between 0 and 1 and at least one draw, got {level}, {resamples}.")
    values = torch.as_tensor(values, dtype=torch.float64).flatten()
    values = values[~values.isnan()]
    count = len(values)
    if count < 2:
        return Interval(float(values.mean()), math.nan, math.nan, count)
    generator = torch.Generator().manual_seed(seed)
    means = []
    for start in range(0, resamples, step := max(1, _AT_ONCE // count)):
        drawn = torch.randint(count, (min(step, resamples - start), count), generator=generator)
        means.append(values[drawn].mean(dim=1))
    rest = (1 - level) / 2
    low, high = torch.quantile(torch.cat(means), torch.tensor([rest, 1 - rest], dtype=torch.float64)).tolist()
    return Interval(float(values.mean()), low, high, count)


def paired_interval(
    first: Tensor | Sequence[float],
    second: Tensor | Sequence[float],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the mean of `first - second` over the clips that both have, and its interval.

    Args:
        first: one number a clip [N], NaN where there is none.
        second: of the same clips in the same order.
        level: as in `interval`.
        resamples: as in `interval`.
        seed: as in `interval`.

    Raises:
        ValueError: if the lengths differ, and as `interval`.
    """
    first, second = (torch.as_tensor(values, dtype=torch.float64).flatten() for values in (first, second))
    if len(first) != len(second):
        raise ValueError(
            f"Paired differences take the same clips of both methods, got {len(first)} and {len(second)} values."
        )
    return interval(first - second, level=level, resamples=resamples, seed=seed)
