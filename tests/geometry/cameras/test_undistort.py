"""A fisheye's picture shown through a pinhole is what the pinhole would have seen."""

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.undistort import through_lens
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.example.room import ExampleRoom

FISHEYE = preset_lens(LensPreset.EGOX_RELEASE, 256, 256)
LINEAR = Pinhole(75, 75, 128, 128)


def test_the_example_room_through_another_lens():
    room = ExampleRoom(1)
    seen = room.color(room.ego_camera(FISHEYE, 256, 256), with_head=False)
    target = room.ego_camera(LINEAR, 256, 256)
    truth = room.color(target, with_head=False)
    inner = slice(40, -40)  # farther out the fisheye has few pixels for many of the pinhole's

    def error(lens):
        return (through_lens(seen, lens, target) - truth)[:, inner, inner].abs().mean()

    assert error(FISHEYE) < 0.03
    assert error(FISHEYE.cropped(1, 0)) > 1.2 * error(FISHEYE)  # a lens one column off
    assert error(FISHEYE.scaled(1.02, 1.02)) > 1.5 * error(FISHEYE)


def test_the_same_lens_changes_nothing():
    frames = torch.rand(2, 24, 40, 3)
    lens = Pinhole(30, 30, 20, 12)
    assert torch.allclose(through_lens(frames, lens, Camera(lens, 40, 24, torch.eye(4))), frames, atol=1e-5)


def test_half_a_pixel_counts():
    """Pixel centres at +0.5: a lens whose centre lies one pixel to the right shows everything one pixel to the left."""
    frames = torch.rand(1, 8, 16, 3)
    lens = Pinhole(10, 10, 8, 4)
    shown = through_lens(frames, lens, Camera(lens.cropped(1, 0), 15, 8, torch.eye(4)))
    assert torch.allclose(shown, frames[:, :, 1:], atol=1e-5)


@pytest.mark.parametrize("lens", [FISHEYE, Fisheye624(90, 128, 128, radial=(-0.35, 0, 0, 0, 0, 0))])
def test_black_where_the_old_picture_shows_nothing(lens):
    frames = torch.ones(1, 256, 256, 3)
    wide = Camera(Pinhole(20, 20, 128, 128), 256, 256, torch.eye(4))
    shown = through_lens(frames, lens, wide)
    assert (shown[0, 128, 128] == 1).all()
    assert (shown[0, 0, 0] == 0).all()
    assert 0.02 < shown.mean() < 0.9
