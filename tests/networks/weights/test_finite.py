"""Weights with a number that is none are refused, whichever tensor, place and type it is in."""

from __future__ import annotations

import pytest
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.networks.weights import finite
from exo2ego.networks.weights.finite import check_finite, check_strength

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_one_such_number_is_found(dtype, value, place):
    tensor = torch.linspace(-3, 3, 15).to(dtype)
    check_finite({"fine": tensor})
    tensor[place] = value  # float8_e4m3fn has no infinity: it becomes NaN
    with pytest.raises(ValueError, match=r"blocks\.1\.q holds values that are not finite"):
        check_finite({"fine": torch.ones(3), "blocks.1.q": tensor.view(3, 5)})


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_largest_numbers_pass(dtype):
    info = torch.finfo(dtype)
    check_finite(
        {
            "edge": torch.tensor([info.min, info.max, 0, info.tiny], dtype=torch.float64).to(dtype),
            "none": torch.zeros(0, 3),
        }
    )
    check_finite({"count": torch.tensor(3)})


def test_large_tensors_are_read_in_pieces_that_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(finite, "_NUMBERS_AT_ONCE", 1000)
    asked = []
    tensor = torch.zeros(100, 100)
    with cancellable(lambda: asked.append(1)):
        check_finite({"large": tensor})
        assert len(asked) == 10
        tensor[-1, -1] = torch.nan
        with pytest.raises(ValueError, match="large holds"):
            check_finite({"large": tensor})


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf")])
def test_a_strength_is_a_number(strength):
    check_strength(-2.0)
    with pytest.raises(ValueError, match="strength of a LoRA is a finite number"):
        check_strength(strength)
