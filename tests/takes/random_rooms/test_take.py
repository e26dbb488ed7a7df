"""Random rooms as takes."""

import pytest
import torch

pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
from exo2ego.takes.egox.read import read_take
from exo2ego.takes.egox.write import write_take
from exo2ego.takes.random_rooms.take import TakeSize, random_take

SIZE = TakeSize(n_frames=5)


@pytest.fixture(scope="module")
def take():
    return random_take(7, SIZE)


def test_every_part_is_there(take):
    assert take.name == "room_000007"
    assert take.exo.shape == (5, 128, 224, 3)
    assert take.ego_truth.shape == take.ego_prior.shape == (5, 128, 128, 3)
    assert take.depth.valid.all()
    assert take.exo_camera.is_fixed
    assert not take.ego_camera.is_fixed


def test_the_prior_is_the_ego_view_where_it_shows_something(take):
    """Were cameras or depth wrong, it would be nearer to the ego view elsewhere, or nowhere."""
    shown = take.ego_prior.amax(dim=-1) > 0.05
    assert shown.float().mean() > 0.2

    def error(down: int, right: int) -> float:
        there = take.ego_truth.roll((down, right), dims=(1, 2))
        return float((take.ego_prior - there).abs().mean(dim=-1)[shown].mean())

    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert min(shifts, key=lambda shift: error(*shift)) == (0, 0)  # to the pixel


def test_neighboring_numbers_show_other_moments(take):
    """The movement's beginning, middle and end are all in a set of takes."""
    from exo2ego.takes.random_rooms.take import _span

    starts = torch.tensor([_span(number, 5)[0] for number in range(40)])
    assert starts.amin() < 0.1
    assert starts.amax() > 0.8
    assert starts.sort().values.diff().amax() < 0.1


def test_it_survives_the_trip_through_files(take, tmp_path):
    write_take(take, tmp_path)
    read = read_take(tmp_path)
    assert read.exo.shape == take.exo.shape
    assert torch.allclose(read.ego_camera.world_to_camera, take.ego_camera.world_to_camera, atol=1e-6)
