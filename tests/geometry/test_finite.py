from __future__ import annotations

import math

import pytest
import torch

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
