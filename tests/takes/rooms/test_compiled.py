"""The compiled ray caster against its readable twin."""

from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.takes.example.room import ExampleRoom
from exo2ego.takes.rooms.shapes import Ball, Shape

pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
from exo2ego.takes.rooms.compiled_room import CompiledRoom
from exo2ego.takes.rooms.encoded import encode
from exo2ego.takes.rooms.paints import Paint, Plain

N_FRAMES = 3
# Where a face lies on the grain's lattice its side is a matter of rounding: the grain of 0.16 at most, lit.
ROUNDED_GRAIN = 0.1


@pytest.fixture(scope="module")
def rooms():
    room = ExampleRoom(N_FRAMES)
    return room, CompiledRoom(room)


def _camera(room, view):
    if view == "exo":
        return room.exo_camera(120, 68)  # does not fit the tiles
    if view == "around":
        return room.exo_cameras(96, 54)[2]
    return room.ego_camera(preset_lens(LensPreset.EGOX_RELEASE, 72, 72), 72, 72)


@pytest.mark.parametrize(("view", "with_head"), [("exo", True), ("around", True), ("ego", False)])
def test_the_same_images(rooms, view, with_head):
    room, compiled = rooms
    camera = _camera(room, view)
    expected, got = room.color(camera, with_head=with_head), compiled.color(camera, with_head=with_head)
    assert got.shape == expected.shape
    assert got.dtype == torch.float32
    difference = (got - expected).abs().amax(dim=-1)
    assert difference.mean() < 0.002
    assert (difference > ROUNDED_GRAIN).float().mean() < 1e-3  # edges, where a ray meets the one or the other
    assert torch.equal(got.sum(dim=-1) == 0, expected.sum(dim=-1) == 0)  # the lens' field


@pytest.mark.parametrize(("view", "with_head"), [("exo", True), ("exo", False), ("ego", False)])
def test_the_same_depth(rooms, view, with_head):
    room, compiled = rooms
    camera = _camera(room, view)
    expected, got = room.geometry(camera, with_head=with_head)[0], compiled.depth(camera, with_head=with_head)
    assert ((got - expected).abs() > 1e-3).float().mean() < 1e-3


def test_a_shape_or_paint_that_it_does_not_know_is_named():
    class Cone(Shape):
        bounding_ball = _meet = _normals = None

    class Plaid(Paint):
        def _colors(self, points):
            return points

    with pytest.raises(TypeError, match="Cone"):
        encode([Cone(paint=Plain((0, 0, 0)))])
    with pytest.raises(TypeError, match="Plaid"):
        encode([Ball(radius=1, paint=Plaid())])


@pytest.mark.parametrize("view", ["exo", "ego"])
def test_arms_are_seen_where_the_view_changes_without_them(rooms, view):
    room, compiled = rooms
    camera = _camera(room, view)
    armless = ExampleRoom(N_FRAMES)
    armless.__dict__["moments"] = [replace(moment, arms=()) for moment in room.moments]
    whole, without = (kind.geometry(camera, with_head=False)[0] for kind in (room, armless))
    got = compiled.arms(camera)
    assert got.dtype == torch.bool
    assert 0.001 < got.float().mean() < 0.5
    assert (got != (whole != without)).float().mean() < 2e-3
