"""The example room is known again, whatever became of its picture; nothing else is taken for it."""

from __future__ import annotations

import pytest
import torch

from exo2ego.takes.example.picture import shows_example_room
from exo2ego.takes.example.room import ExampleRoom
from exo2ego.takes.video import read_video

SIZE = (196, 112)


@pytest.fixture(scope="module")
def room() -> ExampleRoom:
    return ExampleRoom(3)


@pytest.fixture(scope="module")
def clip(room):
    """The exo clip [3, 112, 196, 3]."""
    return room.color(room.exo_camera(*SIZE))


def resized(picture, height, width):
    planes = picture.movedim(-1, 0)[None]
    return torch.nn.functional.interpolate(planes, (height, width), mode="bilinear")[0].movedim(0, -1)


def test_every_moment_of_the_room(clip):
    """Holds the stored tiles against the room as it is rendered today."""
    assert all(shows_example_room(picture) for picture in clip)


@pytest.mark.parametrize("size", [(448, 784), (64, 128), (100, 100), (16, 16)])
def test_at_any_size(clip, size):
    assert shows_example_room(resized(clip[0], *size))


def test_darker_coarser_and_with_noise(clip):
    noise = torch.randn(clip[0].shape, generator=torch.Generator().manual_seed(0))
    assert shows_example_room(0.8 * clip[0] + 0.05 + 0.1 * noise)
    assert shows_example_room((clip[0] * 8).round() / 8)
    assert shows_example_room(clip[0].half())


def test_nothing_else(room, clip):
    for camera in room.exo_cameras(*SIZE)[1:]:
        assert not shows_example_room(room.color(camera)[0])
    ramp = torch.linspace(0, 1, SIZE[1])[:, None, None].expand(-1, SIZE[0], 3)
    for picture in (ramp, 1 - ramp, torch.zeros(64, 64, 3), torch.full((64, 64, 3), 0.5), clip[0].flip(1), 1 - clip[0]):
        assert not shows_example_room(picture)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        assert not shows_example_room(resized(torch.rand(3, 4, 3, generator=generator), 64, 112))


@pytest.mark.parametrize("take", ["iiith_cooking_57_2_2451_2499", "joker"])
def test_real_clips(shared_take, take):
    frames, _ = read_video(shared_take(take) / "exo.mp4")
    assert not any(shows_example_room(frame) for frame in frames[::12])
