"""The whole geometry against the ego priors that EgoX released: same coverage, same colours."""

from __future__ import annotations

import pytest

from exo2ego.geometry.depth.depth import Depth
from exo2ego.geometry.points.point_cloud import PointCloud, build_point_cloud
from exo2ego.geometry.points.renderer import Rendering, render_points
from exo2ego.takes.egox.read import read_take
from exo2ego.takes.take import Take
from support.agreement import Agreement, prior_agreement

EVERY = 6  # frames 0, 6, ..., 48: nine of the 49


def against_release(take: Take, cloud: PointCloud) -> tuple[Rendering, Agreement]:
    rendering = render_points(cloud, take.ego_camera[::EVERY])
    return rendering, prior_agreement(rendering.color, take.ego_prior[::EVERY])


def test_joker_with_every_frames_own_points(shared_take):
    take = read_take(shared_take("joker"))
    depth = Depth(take.depth.values[::EVERY], take.depth.meaning)
    cloud = build_point_cloud(take.exo[::EVERY], depth, take.exo_camera, background="per frame")
    rendering, agreement = against_release(take, cloud)
    assert agreement.mean_iou >= 0.95, agreement
    assert agreement.mean_psnr >= 28.0, agreement
    assert agreement.iou.min() >= 0.92
    assert 30 < rendering.coverage_percent.mean() < 45


def test_kitchen_with_the_mean_background(shared_take):
    take = read_take(shared_take("iiith_cooking_57_2_2451_2499"))
    # The released Ego-Exo4D priors have no moving points; which pixels were masked is not known.
    cloud = build_point_cloud(take.exo, take.depth, take.exo_camera, background="mean", dynamic_points=False)
    background = PointCloud(
        cloud.background_points, cloud.background_colors, cloud.frame_points[:1], cloud.frame_colors[:1]
    )
    _, agreement = against_release(take, background)
    assert agreement.mean_iou >= 0.82, agreement
    assert agreement.mean_psnr >= 21.0, agreement


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_ego_camera_disagrees(shared_take, turns):
    """The figures above mean something: another turn of the sensor falls to a third of them."""
    take = read_take(shared_take("joker"))
    depth = Depth(take.depth.values[:1], take.depth.meaning)
    cloud = build_point_cloud(take.exo[:1], depth, take.exo_camera, background="per frame")
    rendering = render_points(cloud, take.ego_camera[0].turned_clockwise(turns))
    assert prior_agreement(rendering.color, take.ego_prior[:1]).mean_iou < 0.5
