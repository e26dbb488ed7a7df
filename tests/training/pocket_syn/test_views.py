"""Rooms from several sides as clips of Exo2EgoSyn, and their mirror images."""

from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.plucker import PluckerMaps
from exo2ego.takes.random_rooms.views import random_views
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.pocket.encode_rooms import LatentScale
from exo2ego.training.pocket.stages import PocketPlan
from exo2ego.training.pocket.vae import pocket_vae
from exo2ego.training.pocket_syn.plan import SynPlan
from exo2ego.training.pocket_syn.views import (
    PocketEncoder,
    clip_of_room,
    encode_room,
    first_frame,
    mirrored,
    write_first_frames,
    write_views,
)

SIZE = 64


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return PocketEncoder(pocket_vae(8), LatentScale(torch.full((16,), 0.1), torch.full((16,), 2.0)))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    plan = SynPlan(PocketPlan(tmp_path_factory.mktemp("pocket")), n_rooms=2, n_stills=1, n_held_out=1, size=SIZE)
    return replace(plan, n_frames=5).recipe()


def seen(camera, points):
    """Return columns and rows of points [N, 3], and which lie before the camera."""
    pixels, _, in_front = camera[0].project(points)
    return pixels, in_front


def test_a_mirror_image_is_that_of_the_mirrored_world():
    take = random_views(7, clip_of_room(7, 1, SIZE), n_views=2)
    other = mirrored(take)
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flipped = points * torch.tensor([-1.0, 1.0, 1.0])
    pairs = [(view.camera, twin.camera) for view, twin in zip(take.exo, other.exo)]
    for camera, twin in (*pairs, (take.ego_camera, other.ego_camera)):
        (pixels, in_front), (pixels_twin, in_front_twin) = seen(camera, points), seen(twin, flipped)
        assert torch.equal(in_front, in_front_twin)
        assert in_front.any()
        assert torch.allclose(pixels_twin[in_front, 0], SIZE - pixels[in_front, 0])
        assert torch.allclose(pixels_twin[in_front, 1], pixels[in_front, 1])
    assert torch.equal(other.ego, take.ego.flip(2))
    back = mirrored(other)
    assert torch.equal(back.exo[1].frames, take.exo[1].frames)
    assert torch.allclose(back.ego_camera.world_to_camera, take.ego_camera.world_to_camera)


def test_rays_of_a_mirror_image_are_mirrored():
    """Directions change the sign of x; moments, a cross product, that of y and z."""
    take = random_views(7, clip_of_room(7, 1, SIZE), n_views=1)
    other = mirrored(take)
    maps, twin = (PluckerMaps.of(item.ego_camera, item.exo[0].camera, SIZE, SIZE).maps for item in (take, other))
    signs = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0]).view(1, 6, 1, 1)
    assert torch.allclose(twin, maps.flip(-1) * signs, atol=1e-5)


def test_the_first_frame_of_a_clip_is_that_of_the_image_alone(encoder, recipe):
    take = random_views(3, clip_of_room(3, 5, SIZE), n_views=2)
    alone = replace(
        take,
        exo=tuple(replace(view, frames=view.frames[:1]) for view in take.exo),
        ego=take.ego[:1],
        ego_camera=take.ego_camera[:1],
    )
    first, expected = first_frame(encode_room(take, encoder, recipe)), encode_room(alone, encoder, recipe)
    assert first.layout == expected.layout
    for name, part in expected.tensors().items():
        assert torch.allclose(first.tensors()[name].float(), part.float(), atol=2e-2), name


def test_what_is_there_is_not_made_again(encoder, recipe, tmp_path):
    views, firsts = tmp_path / "views", tmp_path / "firsts"
    assert write_views(views, range(2), 5, encoder, recipe) == 2
    assert write_views(views, range(3), 5, encoder, recipe) == 1
    names = [f"room_00000{number}{end}" for number in range(3) for end in ("", "-mirrored")]
    assert sorted(ClipCache(views).entries) == names
    write_first_frames(views, firsts)
    kept = {path: path.stat().st_mtime_ns for path in firsts.iterdir()}
    write_first_frames(views, firsts)
    assert {path: path.stat().st_mtime_ns for path in firsts.iterdir()} == kept
    cache = ClipCache(firsts)
    assert sorted(cache.entries) == names
    assert {entry.layout.frames for entry in cache.entries.values()} == {1}
    another = PocketEncoder(encoder.vae, LatentScale(encoder.scale.mean, 2 * encoder.scale.std))
    assert write_views(views, range(1), 5, another, recipe) == 1


def test_rooms_have_four_cameras_at_most():
    first, second = (random_views(5, clip_of_room(5, 1, SIZE), n_views=count) for count in (1, 4))
    assert torch.equal(first.exo[0].frames, second.exo[0].frames)
    assert [view.name for view in second.exo] == ["cam01", "cam02", "cam03", "cam04"]
    with pytest.raises(ValueError, match="1 to 4 exo cameras"):
        random_views(5, n_views=5)
