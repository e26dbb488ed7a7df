"""Memory is asked for before it is taken, and what allocators say becomes a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exo2ego.common.memory import LIMIT_VARIABLE, NotEnoughMemoryError, memory_errors_told, require_memory

TERABYTE = 1e12


def test_what_no_machine_has_is_refused_with_what_to_do():
    with pytest.raises(
        NotEnoughMemoryError, match=r"Maps would need 1000000000.0 GB of memory, .* GB is free. Lower width"
    ):
        require_memory(1000 * 1000 * TERABYTE, "Maps", "Lower width.")
    require_memory(1000, "Maps", "Lower width.")


def test_the_limit_counts_where_more_is_free(monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.1")
    require_memory(90e6, "Maps", "Lower width.")
    with pytest.raises(NotEnoughMemoryError, match=r"would need 0.1 GB of memory, and EXO2EGO_MEMORY_LIMIT allows"):
        require_memory(110e6, "Maps", "Lower width.")
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(ValueError, match="EXO2EGO_MEMORY_LIMIT is a number of gigabytes"):
        require_memory(110e6, "Maps", "Lower width.")


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**60), lambda: torch.empty(2**62, 2**62), lambda: np.empty(2**46), lambda: bytearray(2**62)],
    ids=["torch", "torch overflows", "numpy", "python"],
)
def test_what_allocators_raise_is_told(allocate):
    message = r"^Point Cloud ran out of memory .* Use fewer frames"
    with pytest.raises(NotEnoughMemoryError, match=message), memory_errors_told("Point Cloud"):
        allocate()


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), RuntimeError("CUDA out of memory"), KeyError("a")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, memory_errors_told("Point Cloud"):
        raise error
    assert caught.value is error
