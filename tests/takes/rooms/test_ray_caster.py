"""The ray caster against geometry that is known in closed form."""

import math

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.rooms.paints import Plain
from exo2ego.takes.rooms.ray_caster import Rays, trace
from exo2ego.takes.rooms.shapes import Ball, Box, Capsule, Cylinder, axes_along, axes_turned

PAINT = Plain((0.5, 0.5, 0.5))
CAMERA = Camera(Pinhole(40, 40, 24, 20), 48, 40, torch.eye(4))


def _hit_points(camera, shape):
    """World points [N, 3] where a camera's rays meet a shape, with the distances [H, W]."""
    rays = Rays.of_camera(camera, torch.float64).posed(camera.camera_to_world[0])
    distance = rays.image(trace(rays, {0: shape}).distance)
    points = camera.centers[0] + camera.rays() * distance[..., None]
    return points[torch.isfinite(distance)], distance


def _on_rod(points, shape):
    """Local coordinates: distance from the axis, and position along it."""
    local = (points - torch.tensor(shape.origin, dtype=points.dtype)) @ shape.axes.T
    return torch.linalg.vector_norm(local[:, :2], dim=-1), local[:, 2]


def test_ball():
    ball = Ball(origin=(0.2, -0.1, 3.0), radius=0.7, paint=PAINT)
    points, distance = _hit_points(CAMERA, ball)
    off_center = points - torch.tensor(ball.origin, dtype=torch.float64)
    assert len(points) > 100
    assert torch.allclose(torch.linalg.vector_norm(off_center, dim=-1), torch.tensor(0.7, dtype=torch.float64))
    assert (off_center[:, 2] < 0).all()  # the near side
    # It covers exactly the directions within asin(radius / distance) of its centre.
    center = torch.tensor(ball.origin, dtype=torch.float64)
    angle = (CAMERA.rays() @ center / center.norm()).acos()
    assert torch.equal(torch.isfinite(distance), angle <= math.asin(0.7 / center.norm()))


@pytest.mark.parametrize("degrees", [0, 30, 77])
def test_turned_box(degrees):
    box = Box(origin=(0.1, 0.2, 3.0), axes=axes_turned(degrees), half_size=(0.5, 0.3, 0.4), paint=PAINT)
    points, _ = _hit_points(CAMERA, box)
    local = (points - torch.tensor(box.origin, dtype=torch.float64)) @ box.axes.T
    scaled = local.abs() / torch.tensor(box.half_size, dtype=torch.float64)
    assert len(points) > 60
    assert torch.allclose(scaled.amax(dim=-1), torch.ones(len(points), dtype=torch.float64))
    normals, _ = box.surface(points)
    assert ((normals * points).sum(dim=-1) < 0).all()  # every face that is seen faces the camera


def test_room_from_within():
    room = Box(origin=(0, 0, 1), half_size=(2, 1.5, 3), inside_out=True, paint=PAINT)
    points, distance = _hit_points(CAMERA, room)
    assert torch.isfinite(distance).all()
    assert float(distance[20, 24]) == pytest.approx(4, abs=1e-3)
    normals, _ = room.surface(points)
    assert ((normals * points).sum(dim=-1) < 0).all()


@pytest.mark.parametrize("kind", [Capsule, Cylinder])
@pytest.mark.parametrize("direction", [(0.0, 1.0, 0.0), (1.0, 0.4, 0.7), (0.1, 0.0, -1.0)])
def test_rods(kind, direction):
    axes = axes_along(torch.tensor(direction))
    rod = kind(origin=(-0.2, -0.3, 3.0), axes=axes, length=0.9, radius=0.25, paint=PAINT)
    points, _ = _hit_points(CAMERA, rod)
    radial, along = _on_rod(points, rod)
    assert len(points) > 40
    if kind is Capsule:
        to_axis = torch.hypot(radial, along - along.clamp(0, 0.9))
        assert torch.allclose(to_axis, torch.full_like(to_axis, 0.25))
    else:
        on_side = ((radial - 0.25).abs() < 1e-9) & (along >= -1e-9) & (along <= 0.9 + 1e-9)
        on_cap = (radial <= 0.25 + 1e-9) & ((along.abs() < 1e-9) | ((along - 0.9).abs() < 1e-9))
        assert (on_side | on_cap).all()
    normals, _ = rod.surface(points)
    assert torch.allclose(torch.linalg.vector_norm(normals, dim=-1), torch.ones(len(points), dtype=torch.float64))
    assert ((normals * points).sum(dim=-1) < 1e-9).all()


def test_the_nearest_shape_wins_in_any_order():
    near = Ball(origin=(0, 0, 2.0), radius=0.3, paint=PAINT)
    far = Ball(origin=(0, 0, 4.0), radius=1.5, paint=PAINT)
    rays = Rays.of_camera(CAMERA, torch.float64)
    images = [rays.image(trace(rays, shapes).shape) for shapes in ({0: near, 1: far}, {1: far, 0: near})]
    later = trace(rays, {0: near}, trace(rays, {1: far}))
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], rays.image(later.shape))
    assert set(images[0].unique().tolist()) == {-1, 0, 1}


@pytest.mark.parametrize("lens", [Pinhole(30, 30, 33, 21), Fisheye624(25, 33, 21, radial=(0.1, 0, 0, 0, 0, 0))])
def test_tiles_leave_nothing_out(lens):
    """Trying every ray on every shape finds the same as trying the tiles that may see it; sizes need not fit tiles."""
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = axes_along(torch.tensor([0.3, -0.2, 1.0]))
    camera = Camera(lens, 67, 43, turn)
    generator = torch.Generator().manual_seed(3)
    for _ in range(25):
        place = torch.rand(3, generator=generator, dtype=torch.float64) * torch.tensor([4, 3, 3]) - 1.5
        end = place + torch.rand(3, generator=generator, dtype=torch.float64) - 0.5
        shape = Capsule(origin=tuple(place.tolist()), axes=axes_along(end - place), length=0.6, radius=0.1, paint=PAINT)
        rays = Rays.of_camera(camera, torch.float64).posed(camera.camera_to_world[0])
        by_tiles = rays.image(trace(rays, {0: shape}).distance)
        everywhere = shape.meet(camera.centers[0], camera.rays().movedim(-1, 0))
        assert torch.allclose(by_tiles, everywhere)
