"""Nuke's .chan: axes and rotation order spelled out, straight up and down, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.camera_formats.nuke_chan import chan_text, read_chan

LENS = Pinhole(300.0, 300.0, 200.0, 150.0)


def one(pose: torch.Tensor) -> Camera:
    return Camera(LENS, 400, 300, pose)


def numbers(camera: Camera) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in chan_text(camera).splitlines()]


def test_a_line_is_nukes_camera():
    """Position (1, -2, 3) of ours is (1, 2, -3) with y up; a camera as Nuke makes it has no rotation."""
    ((frame, tx, ty, tz, rx, ry, rz, fov),) = numbers(one(pose_from_angles((1, -2, 3), (0, 0, 0))))
    assert (frame, tx, ty, tz) == (1, 1, 2, -3)
    assert (rx, ry, rz) == pytest.approx((0, 0, 0))
    assert fov == pytest.approx(math.degrees(2 * math.atan(0.5)))


@pytest.mark.parametrize(
    ("yaw_pitch_roll", "expected"),
    [((30, 0, 0), (0, -30, 0)), ((0, 30, 0), (30, 0, 0)), ((0, 0, 30), (0, 0, -30)), ((30, 20, 10), (20, -30, -10))],
)
def test_pan_then_tilt_then_roll(yaw_pitch_roll, expected):
    """Right, up, clockwise: in Nuke -y, +x, -z. Its order ZXY pans last, as a head on a tripod does."""
    assert numbers(one(pose_from_angles((0, 0, 0), yaw_pitch_roll)))[0][4:7] == pytest.approx(expected, abs=1e-9)


def test_angles_do_not_jump():
    camera = one(torch.stack([pose_from_angles((0, 0, 0), (10 * frame, 0, 0)) for frame in range(40)]))
    pans = [row[5] for row in numbers(camera)]
    assert pans == pytest.approx([-10 * frame for frame in range(40)])


@pytest.mark.parametrize("pitch", [90, -90])
def test_straight_up_and_down(tmp_path, pitch):
    camera = one(torch.stack([pose_from_angles((0, 1, 0), (yaw, pitch, 25)) for yaw in (0, 40, 170)]))
    (tmp_path / "a.chan").write_text(chan_text(camera))
    again = read_chan(tmp_path / "a.chan", 400, 300)
    assert torch.allclose(again.world_to_camera, camera.world_to_camera, atol=1e-6)


def test_refuses_a_lens_it_cannot_hold():
    pose = pose_from_angles((0, 0, 0), (0, 0, 0))
    with pytest.raises(ValueError, match=r"stands in for the Fisheye624 lens\. Set a pinhole"):
        chan_text(Camera(preset_lens(LensPreset.EGOX_RELEASE, 448, 448), 448, 448, pose))
    with pytest.raises(ValueError, match="principal point"):
        chan_text(Camera(Pinhole(300.0, 300.0, 210.0, 150.0), 400, 300, pose))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("1 0 0 0 0 0 0\n", "Expected 8 numbers in line 1"),
        ("1 0 0 0 0 0 0 50\nframe two\n", "Expected numbers in line 2"),
        ("1 0 0 0 0 nan 0 50\n", "finite numbers in line 1"),
        ("1 0 0 0 0 0 0 50\n3 0 0 0 0 0 0 50\n", "from frame 1 to 3"),
        ("1 0 0 0 0 0 0 50\n2 0 0 0 0 0 0 60\n", "from 50.000 to 60.000 degrees"),
        ("1 0 0 0 0 0 0 200\n", "between 0 and 180"),
        ("\x00\xff\n", "Expected numbers in line 1"),
    ],
)
def test_refuses_what_is_no_chan(tmp_path, text, match):
    path = tmp_path / "a.chan"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=match):
        read_chan(path, 400, 300)
