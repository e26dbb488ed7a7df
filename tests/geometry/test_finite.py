from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from exo2ego.geometry.finite import first_not_finite


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_that_is_not_finite(dtype, bad):
    values = torch.full((5, 40, 30), 1000.0, dtype=dtype)  # their sum is beyond half precision
    assert first_not_finite(values) is None
    values[3, 7, 2] = values[4, 0, 0] = bad
    assert first_not_finite(values) == 3


def test_sums_that_overflow_or_cancel():
    values = torch.full((2, 4), 3e38)
    assert first_not_finite(values) is None
    values[1, :2] = torch.tensor([math.inf, -math.inf])
    assert first_not_finite(values) == 1
    assert first_not_finite(torch.zeros(0, 3)) is None
    assert first_not_finite(torch.ones(2, 3, dtype=torch.int64)) is None


class Operations(TorchDispatchMode):
    """Counts what torch is asked for."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def test_points_are_not_looked_at_one_by_one():
    """A cloud's frame has 88,000: one by one they took a second, and all frames of a clip a minute."""
    points = torch.rand(50_000, 3)
    with Operations() as operations:
        assert first_not_finite(points) is None
    assert operations.count < 20
    points[40_000, 1] = float("nan")
    points[41_000, 1] = float("inf")
    assert first_not_finite(points) == 40_000
    assert first_not_finite(torch.full((3, 4), 3e38)) is None
