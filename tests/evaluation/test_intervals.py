"""Bootstrap intervals: against scipy's, by hand, and where there is too little to tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from exo2ego.evaluation import interval, paired_interval


def test_as_scipy_has_them():
    values = np.random.default_rng(3).normal(18, 2, 40)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    ours = interval(torch.from_numpy(values), resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.clips == 40


def test_the_seed_decides():
    values = torch.rand(9, generator=torch.Generator().manual_seed(0))
    assert interval(values, seed=4) == interval(values, seed=4)
    assert interval(values, seed=4) != interval(values, seed=5)


def test_two_clips_by_hand():
    """Half of the resamples are mixed, a quarter each is one clip alone."""
    assert (interval([0.0, 1.0]).low, interval([0.0, 1.0]).high) == (0, 1)
    assert (interval([0.0, 1.0], level=0.4).low, interval([0.0, 1.0], level=0.4).high) == (0.5, 0.5)


def test_pairs_take_out_what_clips_have_in_common():
    hard = 5 * torch.randn(30, generator=torch.Generator().manual_seed(0))
    better = paired_interval(hard + 0.5, hard)
    assert (better.low, better.mean, better.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-5)
    assert better.excludes_zero()
    alone = interval(hard)
    assert alone.high - alone.low > 2


def test_clips_that_one_method_lacks_are_left_out():
    got = paired_interval([1.0, math.nan, 3.0], [0.0, 5.0, math.nan])
    assert (got.mean, got.clips) == (1, 1)
    assert not got.has_ends
    assert not got.excludes_zero()
    assert math.isnan(interval([math.nan]).mean)


def test_what_is_refused():
    with pytest.raises(ValueError, match="same clips of both methods, got 2 and 1"):
        paired_interval([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="level between 0 and 1"):
        interval([1.0], level=95)
