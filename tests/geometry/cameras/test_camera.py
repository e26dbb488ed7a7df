from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole


def turn_about_y(degrees: float, translation=(0.1, -0.2, 0.3)) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    pose[:3, 3] = torch.tensor(translation, dtype=torch.float64)
    return pose


def trajectory(n_frames: int = 5, lens=None, width=64, height=48) -> Camera:
    poses = torch.stack([turn_about_y(10.0 * i, (0.1 * i, -0.2, 0.3)) for i in range(n_frames)])
    return Camera(lens or Pinhole(50.0, 52.0, 31.0, 25.0), width, height, poses)


FISHEYE = preset_lens(LensPreset.EGOX_RELEASE, 64, 64)


@pytest.mark.parametrize("camera", [trajectory(), trajectory(lens=FISHEYE, width=64, height=64)])
def test_unproject_and_project_are_inverse(camera):
    depth = 1 + torch.rand(5, camera.height, camera.width, dtype=torch.float64)
    points = camera.unproject(depth)
    for frame in range(5):
        pixels, z, valid = camera.project(points[frame], frame)
        inside = valid & (camera.local_rays[..., 2] > 0.1)
        assert inside.float().mean() > 0.9
        assert (z - depth[frame])[inside].abs().max() < 1e-9
        assert (pixels - camera.pixel_grid())[inside].abs().max() < 1e-6


def test_image_operations_keep_world_rays():
    camera = trajectory()
    rays = camera.rays(3)
    assert torch.allclose(camera.cropped(8, 4, 32, 24).rays(3), rays[4:28, 8:40])
    turned = camera.turned_clockwise()
    assert (turned.width, turned.height) == (48, 64)
    assert torch.allclose(turned.rays(3), torch.rot90(rays, -1, (0, 1)), atol=1e-12)
    assert torch.allclose(camera.turned_clockwise(4).rays(3), rays, atol=1e-12)
    half = camera.resized(32, 24).rays(3)
    average = rays.reshape(24, 2, 32, 2, 3).mean(dim=(1, 3))
    assert (half - torch.nn.functional.normalize(average, dim=-1)).abs().max() < 1e-3


@pytest.mark.parametrize("lens", [Pinhole(600.0, 600.0, 320.0, 240.0), Fisheye624(300.0, 320.0, 240.0)])
def test_a_camera_is_not_stretched(lens):
    camera = Camera(lens, 640, 480, torch.eye(4))
    with pytest.raises(ValueError, match=r"640 x 480 .*784 x 448.*640 x 366 of the camera's"):
        camera.resized(784, 448)
    with pytest.raises(ValueError, match="positive"):
        camera.resized(0, 448)
    assert camera.resized(320, 241).height == 241, "rounding to whole pixels is no stretching"


def test_centres_slices_and_relative_poses():
    camera = trajectory()
    for pose, center in zip(camera.world_to_camera, camera.centers):
        assert torch.allclose(pose[:3, :3] @ center + pose[:3, 3], torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert camera[1].is_fixed
    assert camera[1:4].n_frames == 3
    assert torch.equal(camera[::2].world_to_camera[1], camera.world_to_camera[2])
    assert camera[2].expanded(7).n_frames == 7
    identity = torch.eye(4, dtype=torch.float64).expand(5, 4, 4)
    assert torch.allclose(camera.relative_to(camera).world_to_camera, identity, atol=1e-12)
    relative = camera.relative_to(camera[0])
    assert torch.allclose(relative.world_to_camera[0], identity[0], atol=1e-12)
    assert torch.allclose(relative.world_to_camera @ camera.world_to_camera[0], camera.world_to_camera, atol=1e-12)


@pytest.mark.parametrize("lens", [Pinhole(50.123456789, 52.0, 31.0, 25.0), FISHEYE])
def test_json_round_trip_is_exact(lens):
    camera = trajectory(lens=lens)
    again = Camera.from_json(camera.to_json())
    assert again.lens == camera.lens
    assert (again.width, again.height) == (camera.width, camera.height)
    assert torch.equal(again.world_to_camera, camera.world_to_camera)


def test_rounded_rotations_pass_and_are_inverted_truly():
    pose = turn_about_y(33.0)
    pose[:3, :3] = pose[:3, :3].mul(100).round() / 100
    camera = Camera(Pinhole(1.0, 1.0, 0.0, 0.0), 4, 4, pose)
    assert torch.allclose(camera.camera_to_world[0] @ pose, torch.eye(4, dtype=torch.float64), atol=1e-12)


def bad_poses():
    singular, reflected, scaled, nan = (turn_about_y(20.0) for _ in range(4))
    singular[0] = 0
    reflected[0] *= -1
    scaled[:3, :3] *= 2
    nan[1, 2] = float("nan")
    row = turn_about_y(20.0)
    row[3, 0] = 1
    return [
        (singular, "singular"),
        (reflected, "reflected.*OpenCV"),
        (scaled, "not a rotation"),
        (nan, "NaN"),
        (row, "last row"),
        (torch.zeros(2, 5, 5), "shape"),
        (torch.zeros(0, 4, 4), "shape"),
    ]


@pytest.mark.parametrize(("pose", "message"), bad_poses())
def test_bad_poses_say_what_is_wrong(pose, message):
    with pytest.raises(ValueError, match=message):
        Camera(Pinhole(1.0, 1.0, 0.0, 0.0), 4, 4, pose)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON text"),
        ("[]", "something else"),
        ('{"format": "other"}', "something else"),
        (trajectory().to_json().replace('"version": 1', '"version": 9'), "version 1, got 9"),
        (trajectory().to_json().replace('"width"', '"wide"'), "has no key 'width'"),
        (trajectory().to_json().replace('"pinhole"', '"mirror"'), "lens of type"),
        (trajectory().to_json().replace('"fx"', '"gx"'), "wrong kind"),
        (
            trajectory().to_json().replace("[0.0, 0.0, 0.0, 1.0]", "[0.0, 0.0, 1.0]"),
            "world_to_camera as rows of numbers",
        ),
        (trajectory().to_json().replace("[0.0, 0.0, 0.0, 1.0]", '"up"'), "world_to_camera as rows of numbers"),
    ],
)
def test_bad_json_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        Camera.from_json(text)


def test_lengths_and_sizes_must_fit():
    with pytest.raises(ValueError, match="Expected depth"):
        trajectory().unproject(torch.ones(5, 10, 10))
    with pytest.raises(ValueError, match="5 poses"):
        trajectory().unproject(torch.ones(4, 48, 64))
    with pytest.raises(ValueError, match="leaves the image"):
        trajectory().cropped(40, 0, 32, 24)
    with pytest.raises(ValueError, match="No frame left"):
        trajectory()[9:]


def test_transposed_matrices_are_named():
    pose = turn_about_y(20.0, (1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="are transposed: their last column is 0 0 0 1"):
        Camera(Pinhole(50.0, 52.0, 31.0, 25.0), 64, 48, pose.mT)
