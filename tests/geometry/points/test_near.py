"""Points close to the camera, as an actor's own hair, can be left out: by their distance, in any direction."""

from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.point_cloud import PointCloud
from exo2ego.geometry.points.quick_view import quick_view
from exo2ego.geometry.points.renderer import render_points


def wall_and_hair(center: torch.Tensor) -> PointCloud:
    """A red wall two metres ahead, and white hair 0.2 m ahead in the frames' own points."""
    across, down = torch.meshgrid(torch.linspace(-3, 3, 120), torch.linspace(-3, 3, 120), indexing="ij")
    wall = torch.stack([across.flatten(), down.flatten(), torch.full((14400,), 2.0)], dim=-1) + center
    hair = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.tensor([-0.05, -0.05, 0.1])
    red = torch.tensor([1.0, 0, 0]).expand(14400, 3)
    return PointCloud(wall, red, (hair + center,) * 2, (torch.ones(500, 3),) * 2)


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("draw", [render_points, quick_view])
def test_hair_is_neither_coverage_nor_content(draw, moving):
    center = torch.tensor([0.5, -0.2, 3.0])
    pose = torch.eye(4)
    pose[:3, 3] = -center
    camera = Camera(Pinhole(60.0, 60.0, 48.0, 48.0), 96, 96, pose.expand(2, 4, 4) if moving else pose)
    cloud = wall_and_hair(center)
    everything, without = draw(cloud, camera), draw(cloud, camera, near=0.3)
    white = everything.color.amin(dim=-1) > 0.5
    assert float(white.float().mean()) > 0.05
    assert not bool((without.color[..., 1] > 0.01).any())
    assert without.depth is None or bool((without.depth[without.coverage] > 1.9).all())
    assert (without.depth is None) == (draw is quick_view)
    bald = draw(PointCloud(cloud.background_points, cloud.background_colors, (torch.zeros(0, 3),) * 2,
                           (torch.zeros(0, 3),) * 2), camera)  # fmt: skip
    assert torch.equal(without.color, bald.color)


def test_what_is_far_away_but_beside_the_camera_stays():
    """A wide lens sees points whose depth is small and whose distance is not."""
    lens = preset_lens(LensPreset.EGOX_RELEASE, 128, 128)
    camera = Camera(lens, 128, 128, torch.eye(4))
    rays = camera.local_rays.reshape(-1, 3)
    wide = rays[(rays[:, 2] > 0.05) & (rays[:, 2] < 0.5)][:200].float()
    assert len(wide) > 20
    points = 0.5 * torch.nn.functional.normalize(wide, dim=-1)
    assert float(points[:, 2].min()) < 0.3
    cloud = PointCloud(points, torch.ones_like(points), (torch.zeros(0, 3),), (torch.zeros(0, 3),))
    assert torch.equal(render_points(cloud, camera, near=0.4).color, render_points(cloud, camera).color)
    assert not render_points(cloud, camera, near=0.6).coverage.any()


@pytest.mark.parametrize("near", [-1.0, float("nan")])
def test_no_distance(near):
    camera = Camera(Pinhole(60.0, 60.0, 48.0, 48.0), 96, 96, torch.eye(4))
    with pytest.raises(ValueError, match="near from 0 metres on"):
        render_points(wall_and_hair(torch.zeros(3)), camera, near=near)
