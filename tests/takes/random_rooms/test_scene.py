"""Random rooms: the same by number, sound, and the same through both ray casters."""

from itertools import combinations

import numpy as np
import pytest
import torch

from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.takes.random_rooms.kitchen import random_kitchen
from exo2ego.takes.random_rooms.scene import random_scene
from exo2ego.takes.rooms.room import Room
from exo2ego.takes.rooms.shapes import Box, Capsule, Cylinder

ROOMS = range(12)


def _table_top(scene):
    return next(shape for shape in scene.shapes if isinstance(shape, Box) and shape.half_size[1] == 0.02)


def _on_table(scene):
    """Cylinders and boxes that stand on the table top, with the circle each needs."""
    top = _table_top(scene)
    height, found = top.origin[1] - 0.02, []
    for shape in scene.shapes:
        foot = shape.origin[1] + (shape.half_size[1] if isinstance(shape, Box) else 0)
        if isinstance(shape, (Box, Cylinder)) and foot == pytest.approx(height, abs=1e-6):
            reach = shape.radius if isinstance(shape, Cylinder) else 0.0
            found.append((shape.origin[0], shape.origin[2], reach))
    return top, found


def test_a_number_always_gives_the_same_room_and_another_number_another():
    first, again, other = (Room(random_scene(number), 1) for number in (3, 3, 4))
    images = [room.color(room.exo_camera(56, 32)) for room in (first, again, other)]
    assert torch.equal(images[0], images[1])
    assert (images[0] - images[2]).abs().mean() > 0.02


@pytest.mark.parametrize("number", ROOMS)
def test_things_stand_on_the_table_and_apart(number):
    top, things = _on_table(random_scene(number))
    for x, z, reach in things:
        assert abs(x - top.origin[0]) + reach <= top.half_size[0] + 1e-9
        assert abs(z - top.origin[2]) + reach <= top.half_size[2] + 1e-9
    same_place = {(x, z) for x, z, _ in things}  # a plate and its middle, a pot and its lid
    for (x, z), (other_x, other_z) in combinations(same_place, 2):
        reach = max(r for a, b, r in things if (a, b) == (x, z)) + max(
            r for a, b, r in things if (a, b) == (other_x, other_z)
        )
        assert ((x - other_x) ** 2 + (z - other_z) ** 2) ** 0.5 > reach


@pytest.mark.parametrize("number", ROOMS)
def test_cameras_are_in_the_room_and_the_exo_camera_sees_the_figure(number):
    scene = random_scene(number)
    walls = scene.shapes[0]
    for eye, _ in scene.exo_places:
        assert all(abs(a - o) < half for a, o, half in zip(eye, walls.origin, walls.half_size))
    room = Room(scene, 2)
    _, dynamic = room.geometry(room.exo_camera(56, 32))
    assert 0.02 < dynamic.float().mean() < 0.6


def test_hands_are_in_the_ego_view():
    """A first-person view that shows no hands would teach none."""
    with_hands = []
    for number in ROOMS:
        room = Room(random_scene(number), 3)
        camera = room.ego_camera(preset_lens(LensPreset.EGOX_RELEASE, 64, 64), 64, 64)
        for frame, present in enumerate(room.moments):
            fingers = [shape for shape in present.arms if isinstance(shape, Capsule) and shape.radius < 0.011]
            to_room = torch.linalg.inv(room.pose_in_room(camera, frame))
            places = torch.tensor([shape.origin for shape in fingers], dtype=torch.float64)
            seen = places @ to_room[:3, :3].T + to_room[:3, 3]
            pixels, valid = camera.lens.project(seen)
            with_hands.append(bool((valid & ((pixels - 32).abs() < 32).all(dim=-1)).sum() > 4))
    assert sum(with_hands) > 0.9 * len(with_hands)


@pytest.mark.parametrize("scene_of", [random_scene, random_kitchen])
def test_hands_and_forearms_do_not_have_the_color_of_the_table(scene_of):
    """At 128 pixels nobody sees an arm before a table of its color, in the true view no more than in a network's."""
    for number in range(60):
        scene = scene_of(number)
        table, capsules = np.array(_table_top(scene).paint.color), Room(scene, 1).moments[0].arms
        for shape in capsules:
            upper_arm = shape.paint.color == scene.look.shirt[0] and not scene.look.long_sleeves
            assert upper_arm or np.linalg.norm(np.array(shape.paint.color) - table) >= 0.25, number


@pytest.mark.parametrize("number", [1, 2])
def test_both_ray_casters_agree(number):
    pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
    from exo2ego.takes.rooms.compiled_room import CompiledRoom

    room = Room(random_scene(number), 2)
    camera = room.exo_camera(84, 48)
    expected, got = room.color(camera), CompiledRoom(room).color(camera)
    assert (got - expected).abs().mean() < 0.002
    assert ((got - expected).abs().amax(dim=-1) > 0.1).float().mean() < 2e-3
