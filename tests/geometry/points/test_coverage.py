"""Where a clip's coverage stands, and poses that were read wrongly are named by what they would see."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset
from exo2ego.geometry.points.coverage import coverage_verdict, misread_pose
from exo2ego.geometry.points.point_cloud import Background, PointCloud, build_point_cloud
from exo2ego.geometry.points.quick_view import quick_view
from exo2ego.takes.example.room import example_take
from exo2ego.takes.library import TAKES

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("mean", "said"), [(3.0, "this is below"), (34.9, "below"), (35, "among them"), (59, "among them"), (61, "above")]
)
def test_where_a_clip_stands(mean, said):
    verdict = coverage_verdict(mean)
    assert said in verdict
    assert "between about 35 and 60%" in verdict


@cache
def scene() -> tuple[PointCloud, Camera]:
    take = example_take(5, exo_width=224, exo_height=128, ego_size=128)
    cloud = build_point_cloud(take.exo, take.depth, take.exo_camera, background=Background.MEAN, stride=1)
    return cloud, take.ego_camera


def said_of(camera: Camera) -> str:
    cloud, _ = scene()
    return misread_pose(cloud, camera, float(quick_view(cloud, camera, 96).coverage_percent.mean()))


def transposed(poses: torch.Tensor) -> torch.Tensor:
    result = poses.clone()
    result[:, :3, :3] = poses[:, :3, :3].mT
    return result


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (torch.linalg.inv, "camera-to-world matrices"),
        (transposed, "rotations transposed"),
        (lambda poses: FLIP @ poses, "These poses with OpenGL's axes"),
        (lambda poses: torch.linalg.inv(poses) @ FLIP, "as Blender gives matrix_world"),
    ],
)
@pytest.mark.parametrize("fixed", [False, True])
def test_a_pose_that_was_given_otherwise_is_named(given, named, fixed):
    _, camera = scene()
    right = camera[2] if fixed else camera
    wrong = replace(right, world_to_camera=given(right.world_to_camera))
    assert not torch.allclose(wrong.world_to_camera, right.world_to_camera)
    text = said_of(wrong)
    assert named in text
    assert "Poses are world-to-camera, row by row" in text


def test_a_right_pose_is_not_accused():
    _, camera = scene()
    assert said_of(camera) == ""


def test_a_camera_that_just_looks_away_is_not_accused():
    _, camera = scene()
    behind = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    away = replace(camera, world_to_camera=behind @ camera.world_to_camera)
    far = camera.world_to_camera.clone()
    far[:, 1, 3] += 500
    for wrong in (away, replace(camera, world_to_camera=far)):
        text = said_of(wrong)
        assert text == "" or "%" in text
    assert said_of(replace(camera, world_to_camera=far)) == ""


@pytest.mark.parametrize("name", ["joker", "iiith_cooking_57_2_2451_2499"])
def test_poses_of_real_takes(shared_data, name):
    take = TAKES.load(shared_data, name, lens=LensPreset.EGOX_RELEASE, max_frames=3, height=160)
    cloud = build_point_cloud(take.exo, take.depth, take.exo_camera, background=Background.PER_FRAME, stride=1)

    def said(camera: Camera) -> str:
        return misread_pose(cloud, camera, float(quick_view(cloud, camera, 96).coverage_percent.mean()))

    assert said(take.ego_camera) == ""
    inverse = replace(take.ego_camera, world_to_camera=take.ego_camera.camera_to_world)
    assert "camera-to-world matrices" in said(inverse)
