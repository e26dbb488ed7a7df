"""The small view of a cloud: its size, and that it shows what the large one shows."""

from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.point_cloud import PointCloud
from exo2ego.geometry.points.quick_view import quick_view, smaller
from exo2ego.geometry.points.renderer import render_points

POSE = pose_from_angles((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(448, 448, (224, 224)), (784, 448, (224, 128)), (448, 784, (128, 224)), (200, 100, (200, 100)), (1920, 7, None)],
)
def test_it_is_smaller_and_of_the_same_shape(width, height, expected):
    camera = smaller(Camera(Pinhole(300.0, 300.0, width / 2, height / 2), width, height, POSE), 224)
    if expected is not None:
        assert (camera.width, camera.height) == expected
    assert camera.width / camera.height == pytest.approx(width / height, rel=0.005)


def test_it_covers_what_the_large_picture_covers():
    chance = torch.Generator().manual_seed(0)
    points = torch.rand(3000, 3, generator=chance) * torch.tensor([2.0, 1.0, 1.0]) + torch.tensor([-1.0, -0.2, 2.0])
    cloud = PointCloud(points, torch.ones(3000, 3), (torch.zeros(0, 3),) * 2, (torch.zeros(0, 3),) * 2)
    camera = Camera(preset_lens(LensPreset.EGOX_RELEASE, 448, 448), 448, 448, POSE.expand(2, 4, 4))
    large, small = render_points(cloud, camera), quick_view(cloud, camera)
    assert small.color.shape == (2, 224, 224, 3)
    shrunk = torch.nn.functional.interpolate(large.coverage[:, None].float(), (224, 224), mode="area")[:, 0] > 0.5
    both, any_ = (shrunk & small.coverage).sum(), (shrunk | small.coverage).sum()
    assert 5 < float(small.coverage_percent.min()) < 95
    assert float(both / any_) > 0.9
