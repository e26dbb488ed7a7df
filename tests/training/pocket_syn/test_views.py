"""Kitchens from two sides as clips of Exo2EgoSyn."""

from dataclasses import replace

import pytest
import torch

from exo2ego.takes.example.room import ExampleRoom
from exo2ego.takes.random_rooms.kitchen import random_kitchen
from exo2ego.takes.random_rooms.views import random_views
from exo2ego.takes.rooms.paints import Plain
from exo2ego.training.data.cache import ClipCache, write_shard
from exo2ego.training.pocket.encode_rooms import LatentScale
from exo2ego.training.pocket.plan import PocketPlan
from exo2ego.training.pocket.vae import pocket_vae
from exo2ego.training.pocket_syn import views
from exo2ego.training.pocket_syn.plan import SynPlan
from exo2ego.training.pocket_syn.views import (
    PocketEncoder,
    clip_of_room,
    encode_room,
    first_frame,
    kitchen_views,
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


def test_kitchens_are_the_example_room_in_other_colors():
    example = ExampleRoom(1).scene
    scenes = [random_kitchen(number) for number in range(20)]
    for scene in scenes:
        assert [shape.origin for shape in scene.shapes] == [shape.origin for shape in example.shapes]
        places = torch.tensor(scene.exo_places) - torch.tensor(example.exo_places)
        assert 0 < places.abs().max() <= 0.1
        repainted = [a.paint != b.paint for a, b in zip(scene.shapes, example.shapes)]
        assert sum(repainted) > 0.9 * len(repainted)  # all but the window
    assert len({scene.shapes[0].paint for scene in scenes}) == len(scenes)
    assert len({scene.look for scene in scenes}) == len(scenes)
    again = random_kitchen(3)
    assert again.look == scenes[3].look
    assert [shape.paint for shape in again.shapes] == [shape.paint for shape in scenes[3].shapes]


def test_what_has_one_color_keeps_one():
    """The table's four legs, whatever their color."""
    example, scene = ExampleRoom(1).scene, random_kitchen(5)
    colors = {}
    for before, after in zip(example.shapes, scene.shapes):
        if isinstance(before.paint, Plain):
            colors.setdefault(before.paint.color, set()).add(after.paint.color)
    assert {len(found) for found in colors.values()} == {1}
    assert len(colors) > 10


def test_the_first_frame_of_a_clip_is_that_of_the_image_alone(encoder, recipe):
    take = kitchen_views(3, clip_of_room(3, 5, SIZE), 2)
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
    names = [f"room_00000{number}" for number in range(3)]
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


def test_clips_of_another_version_of_the_kitchens_are_refused(encoder, recipe, tmp_path):
    write_views(tmp_path, range(1), 5, encoder, recipe)
    made = ClipCache(tmp_path).entries["room_000000"].made
    for other, message in ((7, "shows another kitchen than its number gives now"), (0, None)):
        take = kitchen_views(other, clip_of_room(0, 5, SIZE), recipe.exo2egosyn.views)
        write_shard(tmp_path, {"room_000000": (encode_room(take, encoder, recipe), made)})
        if message is None:
            assert write_views(tmp_path, range(1), 5, encoder, recipe) == 0
        else:
            with pytest.raises(ValueError, match=message):
                write_views(tmp_path, range(1), 5, encoder, recipe)


def test_first_frames_of_kitchens_that_were_made_anew_are_made_anew(encoder, recipe, tmp_path, monkeypatch):
    first, again, firsts = tmp_path / "first", tmp_path / "again", tmp_path / "firsts"
    write_views(first, range(1), 5, encoder, recipe)
    write_first_frames(first, firsts)
    other = kitchen_views(7, clip_of_room(0, 5, SIZE), recipe.exo2egosyn.views)
    monkeypatch.setattr(views, "kitchen_views", lambda *given: other)  # as another version would render them
    write_views(again, range(1), 5, encoder, recipe)
    write_first_frames(again, firsts)
    expected = first_frame(ClipCache(again).read("room_000000"))
    assert torch.equal(ClipCache(firsts).read("room_000000").ego, expected.ego)


def test_rooms_have_four_cameras_at_most():
    first, second = (random_views(5, clip_of_room(5, 1, SIZE), n_views=count) for count in (1, 4))
    assert torch.equal(first.exo[0].frames, second.exo[0].frames)
    assert [view.name for view in second.exo] == ["cam01", "cam02", "cam03", "cam04"]
    with pytest.raises(ValueError, match="1 to 4 exo cameras"):
        random_views(5, n_views=5)
