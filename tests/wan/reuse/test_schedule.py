"""Steps by their noise levels, by hand."""

import pytest

from exo2ego.wan.reuse.schedule import serves
from exo2ego.wan.shared.steps_of_run import StepsOfRun


def test_levels_of_a_schedule():
    steps = StepsOfRun([1.0, 0.8, 0.5, 0.2, 0.0])
    assert len(steps) == 4
    assert [steps.at(sigma) for sigma in (1.0, 0.8, 0.5, 0.2)] == [0, 1, 2, 3]
    assert [steps.at(sigma) for sigma in (0.9, 0.65, 0.01, 0.0)] == [0, 1, 3, 3]  # in between, and the end
    assert steps.at(1.3) == 0  # noise was added
    assert [steps.at(sigma * (1 + off)) for sigma in (0.8, 0.5) for off in (1e-7, -1e-7)] == [1, 1, 2, 2]


def test_a_schedule_that_goes_up_again():
    steps = StepsOfRun([1.0, 0.6, 0.3, 0.6, 0.3, 0.0])
    assert [steps.at(sigma) for sigma in (1.0, 0.6, 0.3, 0.6, 0.3)] == [0, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("kept_at", "step", "every", "expected"),
    [
        (None, 0, 2, False),
        (0, 0, 2, True),  # the level is evaluated again
        (0, 1, 2, True),
        (0, 2, 2, False),
        (4, 3, 2, False),  # back to more noise
        (0, 999, 1000, True),
        (3, 3, 1, True),
    ],
)
def test_what_serves(kept_at, step, every, expected):
    assert serves(kept_at, step, every) is expected
