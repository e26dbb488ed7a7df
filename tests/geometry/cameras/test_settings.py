from __future__ import annotations

import json

import pytest
import torch

from exo2ego.geometry.cameras.presets import LensPreset
from exo2ego.geometry.cameras.settings import camera_from_numbers, describe_camera, pose_from_angles
from exo2ego.geometry.lenses.brown_conrady import BrownConrady
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.opencv_fisheye import OpenCVFisheye
from exo2ego.geometry.lenses.pinhole import Pinhole


def looks_at(yaw=0.0, pitch=0.0, roll=0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The camera's forward and right axes in the world."""
    pose = pose_from_angles((1.0, 2.0, 3.0), (yaw, pitch, roll))
    return pose[2, :3], pose[0, :3]


@pytest.mark.parametrize(
    ("angles", "forward", "right"),
    [
        ({}, (0, 0, 1), (1, 0, 0)),
        ({"yaw": 90.0}, (1, 0, 0), (0, 0, -1)),
        ({"pitch": 90.0}, (0, -1, 0), (1, 0, 0)),
        ({"roll": 90.0}, (0, 0, 1), (0, 1, 0)),
        ({"yaw": 180.0}, (0, 0, -1), (-1, 0, 0)),
    ],
)
def test_angles_turn_right_up_and_clockwise(angles, forward, right):
    got_forward, got_right = looks_at(**angles)
    assert got_forward.tolist() == pytest.approx(forward, abs=1e-12)
    assert got_right.tolist() == pytest.approx(right, abs=1e-12)


def test_position_is_the_centre():
    camera = camera_from_numbers(LensPreset.PINHOLE, 64, 48, position=(1.0, -2.0, 3.0), yaw_pitch_roll=(30, 20, 10))
    assert camera.centers[0].tolist() == pytest.approx([1.0, -2.0, 3.0])


def test_own_coefficients():
    pinhole = camera_from_numbers(LensPreset.OWN, 64, 48, coefficients="50, 32 24").lens
    assert pinhole == Pinhole(50.0, 50.0, 32.0, 24.0)
    fisheye = camera_from_numbers(LensPreset.OWN, 64, 48, coefficients="50 32 24 0.1 0.2").lens
    assert fisheye == Fisheye624(50.0, 32.0, 24.0, radial=(0.1, 0.2, 0, 0, 0, 0))
    gopro = camera_from_numbers(LensPreset.OPENCV_FISHEYE, 64, 48, coefficients="50 51 32 24 0.1").lens
    assert gopro == OpenCVFisheye(50.0, 51.0, 32.0, 24.0, (0.1, 0, 0, 0))
    phone = camera_from_numbers(LensPreset.BROWN_CONRADY, 64, 48, coefficients="50 51 32 24 0.1 0.2 3e-3 4e-3").lens
    assert phone == BrownConrady(50.0, 51.0, 32.0, 24.0, (0.1, 0.2, 3e-3, 4e-3, 0, 0, 0, 0))


def test_matrices_replace_numbers():
    poses = [torch.eye(4).tolist(), pose_from_angles((0, 0, 1), (10, 0, 0)).tolist()]
    camera = camera_from_numbers(LensPreset.PINHOLE, 64, 48, position=(9, 9, 9), matrices=json.dumps(poses))
    assert camera.n_frames == 2
    assert camera.centers[1].tolist() == pytest.approx([0, 0, 1])
    assert "2 poses, path of 1.00 m" in describe_camera(camera)
    assert "60 degrees across; fixed at (0.00, 0.00, 0.00)" in describe_camera(camera[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coefficients": "a b c"}, "must be numbers"),
        ({"coefficients": "1 2"}, "3 to 15 numbers"),
        ({"coefficients": "50 nan 24"}, "finite numbers"),
        ({"coefficients": "50 32 24", "matrices": "[" * 100_000}, "Matrices are JSON text"),
        ({"coefficients": "50 32 24", "matrices": '["a"]'}, "Matrices are rows of numbers"),
        ({"coefficients": "50 32 24", "matrices": "[[1,2],[3]]"}, "rows of different lengths"),
        ({"coefficients": "50 32 24", "matrices": f"[{10**400}]"}, "Matrices are rows of numbers"),
        ({"coefficients": "50 32 24", "matrices": "[[1,0,0,1e300],[0,1,0,0],[0,0,1,0]]"}, "frame 0 is more than"),
        ({"coefficients": "50 32 24", "matrices": "[[1,"}, "JSON text"),
        ({"coefficients": "50 32 24", "matrices": "[[1,2],[3,4]]"}, "shape"),
    ],
)
def test_bad_numbers_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        camera_from_numbers(LensPreset.OWN, 64, 48, **options)
