"""The camera editor's cloud in few bytes: layout, thinning, rounding, refusals."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from exo2ego.geometry.points.packed_cloud import MAX_RADIUS, pack_cloud, unpack_cloud
from exo2ego.geometry.points.point_cloud import PointCloud


def cloud(n_static: int = 300, own: tuple[int, ...] = (10, 0, 25), seed: int = 0) -> PointCloud:
    chance = torch.Generator().manual_seed(seed)

    def points(count: int) -> torch.Tensor:
        return torch.rand(count, 3, generator=chance) * torch.tensor([4.0, 3.0, 6.0]) - torch.tensor([2.0, 1.0, 0.0])

    def colors(count: int) -> torch.Tensor:
        return torch.randint(256, (count, 3), generator=chance) / 255

    return PointCloud(points(n_static), colors(n_static), tuple(map(points, own)), tuple(map(colors, own)))


def test_the_layout_byte_by_byte():
    given = cloud(2, (1, 3))
    data = pack_cloud(given)
    assert data[:4] == b"E2EC"
    assert struct.unpack_from("<4I", data, 4) == (1, 2, 2, 4)
    origin, scale = np.array(struct.unpack_from("<3f", data, 20)), struct.unpack_from("<f", data, 32)[0]
    assert data[36:64] == bytes(28)
    assert struct.unpack_from("<3I", data, 64) == (0, 1, 4)
    points = torch.cat([given.background_points, *given.frame_points])
    values = np.frombuffer(data, "<u2", 18, 76).reshape(6, 3)
    assert np.abs(origin + scale * values - points.numpy()).max() <= scale * 0.51
    stored = np.frombuffer(data, "u1", 18, 76 + 36).reshape(6, 3)
    colors = torch.cat([given.background_colors, *given.frame_colors])
    assert (stored == (255 * colors).round().numpy()).all()
    assert len(data) == 76 + 36 + 18


def test_unpacked_it_is_the_cloud_again():
    given = cloud()
    found = unpack_cloud(pack_cloud(given))
    assert torch.equal(found.counts, given.counts)
    for frame in range(3):
        points, colors = given.frame(frame)
        assert torch.allclose(found.frame(frame)[0], points, atol=6 / 65535)
        assert torch.equal(found.frame(frame)[1], colors)


@pytest.mark.parametrize(
    ("n_static", "own", "kept_static", "kept_own"),
    [(1000, (400, 600), 100, 100), (1000, (10, 20), 170, 30), (50, (400, 600), 50, 150), (0, (300, 100), 0, 200)],
)
def test_thinning_keeps_background_first_and_every_frame_its_share(n_static, own, kept_static, kept_own):
    found = unpack_cloud(pack_cloud(cloud(n_static, own), max_points=200))
    assert len(found.background_points) == kept_static
    lengths = [len(points) for points in found.frame_points]
    assert sum(lengths) == kept_own
    expected = kept_own * own[0] / sum(own)
    assert abs(lengths[0] - expected) <= 4 * max(1.0, expected**0.5)


def test_thinned_points_are_some_of_the_cloud_in_their_own_frame():
    given = cloud(500, (200, 300))
    found = unpack_cloud(pack_cloud(given, max_points=300))
    for frame in range(2):
        pairs = (found.frame_points[frame].double(), given.frame_points[frame].double())
        nearest = torch.cdist(*pairs).min(dim=1).values
        assert float(nearest.max()) < 6 / 65535 * 2
    assert pack_cloud(given, max_points=300) == pack_cloud(given, max_points=300)


def test_a_point_of_sky_does_not_coarsen_the_room():
    given = cloud()
    points = torch.cat([given.background_points, torch.tensor([[0.0, 0.0, 1e5]])])
    colors = torch.cat([given.background_colors, torch.zeros(1, 3)])
    found = unpack_cloud(pack_cloud(PointCloud(points, colors, given.frame_points, given.frame_colors)))
    assert torch.allclose(found.background_points[:-1], given.background_points, atol=2 * MAX_RADIUS / 65535)
    distance = float((found.background_points[-1] - points.median(dim=0).values).norm())
    assert distance == pytest.approx(MAX_RADIUS, abs=0.2)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 10.0])
def test_rounding_stays_within_half_a_step_far_from_the_origin(scale):
    chance = torch.Generator().manual_seed(1)
    points = 500 + scale * torch.rand(100, 3, generator=chance)
    given = PointCloud(points, torch.zeros(100, 3), (torch.zeros(0, 3),), (torch.zeros(0, 3),))
    found = unpack_cloud(pack_cloud(given)).background_points
    assert float((found - points).abs().max()) <= max(scale, 1e-3) / 65535 + 500 * 2**-23


@pytest.mark.parametrize("n_points", [0, 5])
def test_refuses_a_cloud_that_cannot_be_shown(n_points):
    points = torch.full((n_points, 3), float("nan"))
    with pytest.raises(ValueError, match="cannot be shown"):
        pack_cloud(PointCloud(points, torch.zeros(n_points, 3), (torch.zeros(0, 3),), (torch.zeros(0, 3),)))


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: b"E2ED" + data[4:], "begins with"),
        (lambda data: data[:30], "begins with"),
        (lambda data: data[:4] + struct.pack("<I", 2) + data[8:], "version 1, got 2"),
        (lambda data: data[:-1], "its header states"),
        (lambda data: data[:8] + struct.pack("<I", 2**32 - 1) + data[12:], "its header states"),
        (lambda data: data[:68] + struct.pack("<I", 99) + data[72:], "do not follow"),
    ],
)
def test_refuses_damaged_bytes(damage, match):
    with pytest.raises(ValueError, match=match):
        unpack_cloud(damage(pack_cloud(cloud())))
