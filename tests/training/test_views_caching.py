"""Clips of Exo2EgoSyn in the cache: what is encoded is what the nodes make of the same take."""

from __future__ import annotations

import shutil

import pytest
import torch

from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.plucker import RayModel, align_maps, plucker_maps, ray_model
from exo2ego.takes.ego_exo4d.clip import read_ego_exo4d
from exo2ego.takes.ego_exo4d.layout import open_take
from exo2ego.takes.egox.write import write_take
from exo2ego.takes.example.room import ExampleRoom
from exo2ego.takes.take import Take
from exo2ego.takes.views import Clip, EgoView
from exo2ego.training.data.caching import make_cache
from exo2ego.training.data.encoders import encoders_of
from exo2ego.training.data.sources import clips_of
from exo2ego.training.data.takes import EgoXTake
from support.ego_exo4d_tree import TAKE, write_tree
from support.tiny_pipeline import TEXT_WIDTH, write_tiny_pipeline
from support.training import tiny_recipe

SIZES = {"frames": 5, "exo_size": [32, 32], "ego_size": [32, 32], "held_out": []}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_tiny_pipeline(tmp_path_factory.mktemp("pipeline"))


def recipe_for(folder, pipeline, data, **syn):
    run = {"method": "exo2egosyn stage 0"}
    return tiny_recipe(
        folder, run=run, data={**SIZES, **data}, exo2egosyn=syn, encoders={"folder": str(pipeline), "negative": ""}
    )


def cached(folder, recipe):
    encoders = encoders_of(recipe, torch.device("cpu"))
    encoders.text_encoder.float()
    make_cache(recipe, folder, lambda: encoders, lambda line: None)
    return clips_of(recipe, folder), encoders


def test_a_take_of_ego_exo4d(tmp_path, pipeline):
    tree = write_tree(tmp_path)
    recipe = recipe_for(tmp_path, pipeline, {"takes": [f"egoexo#{TAKE}"], "clips": 2})
    cache, encoders = cached(tmp_path, recipe)
    assert set(cache.entries) == {f"{TAKE}@1", f"{TAKE}@2"}
    clip = cache.read(f"{TAKE}@2")
    # 45 frames of the task, of which a clip spans 17: the second ends with the task.
    take = read_ego_exo4d(open_take(tmp_path, tree.root, TAKE), Clip(28, 5, 4, 32))
    latents = torch.stack([encoders.latent(view.frames) for view in take.exo])
    assert torch.equal(clip.exo, latents)
    assert torch.equal(clip.ego, encoders.latent(take.ego))
    gray = torch.full_like(take.ego, 0.5)
    assert torch.equal(clip.gray, encoders.latent(gray))
    assert torch.equal(clip.first_then_gray, encoders.latent(torch.cat([take.ego[:1], gray[1:]])))
    cameras = [view.camera for view in take.exo]
    assert torch.equal(clip.plucker, plucker_maps(take.ego_camera, cameras[0], 32, 32))
    assert torch.equal(clip.align_plucker, align_maps(cameras, take.ego_camera, 4, 4))
    relative = torch.linalg.inv(cameras[0].world_to_camera.inverse()) @ take.ego_camera.world_to_camera.inverse()
    torch.testing.assert_close(clip.poses, relative.float())
    assert clip.text.shape == (1, TEXT_WIDTH)  # the end token
    with pytest.raises(ValueError, match=r"is stale \(views was 4, is 2\)"):
        clips_of(recipe_for(tmp_path, pipeline, {"takes": [f"egoexo#{TAKE}"], "clips": 2}, views=2), tmp_path)


def test_fewer_clips_take_the_place_of_many(tmp_path, pipeline):
    write_tree(tmp_path)
    for count, names in ((2, {f"{TAKE}@1", f"{TAKE}@2"}), (1, {TAKE}), (2, {f"{TAKE}@1", f"{TAKE}@2"})):
        cache, _ = cached(tmp_path, recipe_for(tmp_path, pipeline, {"takes": [f"egoexo#{TAKE}"], "clips": count}))
        assert set(cache.entries) == names
        assert len(list(cache.folder.glob("clips-*"))) == count


def test_a_take_with_too_few_views(tmp_path, pipeline):
    write_tree(tmp_path, views=("cam01", "cam02"))
    with pytest.raises(ValueError, match=r"has 2 exo views, and \[exo2egosyn\] views says 4"):
        cached(tmp_path, recipe_for(tmp_path, pipeline, {"takes": [f"egoexo#{TAKE}"]}))


@pytest.mark.parametrize(("rays", "ego_view"), [("pinhole", EgoView.UNDISTORTED), ("raymap", EgoView.FISHEYE)])
def test_a_room(tmp_path, pipeline, rays, ego_view):
    pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
    from exo2ego.takes.random_rooms.views import random_views

    cache, encoders = cached(tmp_path, recipe_for(tmp_path, pipeline, {"rooms": [5, 1]}, rays=rays, views=3))
    clip = cache.read("room_000005")
    take = random_views(5, Clip(38, 5, 4, 32), ego_view)
    assert ray_model(take.ego_camera).value == rays
    assert len(clip.exo) == 3
    assert torch.equal(clip.ego, encoders.latent(take.ego))
    assert torch.equal(clip.plucker, plucker_maps(take.ego_camera, take.exo[0].camera, 32, 32))


@pytest.mark.parametrize("ego_view", [EgoView.UNDISTORTED, EgoView.FISHEYE])
def test_the_rays_of_a_take_in_egox_s_layout_are_those_of_its_images(tmp_path, ego_view):
    """Every pixel of the ego video has its ray's direction as color: so have the clip's, by the clip's camera."""
    room = ExampleRoom(9)
    exo = room.exo_camera(96, 64)
    ego = room.ego_camera(preset_lens(LensPreset.EGOX_RELEASE, 64, 64), 64, 64)
    colors = 0.5 + 0.4 * ego.local_rays.float().expand(9, 64, 64, 3)
    depth = Depth(torch.full((9, 64, 96), 2.0), DepthMeaning.METRIC)
    made = Take("a", torch.rand(9, 64, 96, 3), exo, depth, ego, "text", 16.0, ego_prior=colors, ego_truth=colors)
    write_take(made, tmp_path / "a")
    take = EgoXTake(tmp_path / "a", None).views(Clip(0, 5, 2, 64), ego_view)
    assert ray_model(take.ego_camera) is (RayModel.RAYMAP if ego_view is EgoView.FISHEYE else RayModel.PINHOLE)
    assert [view.frames.shape for view in take.exo] == [(5, 64, 96, 3)]
    torch.testing.assert_close(take.ego_camera.centers, ego.centers[::2], atol=1e-4, rtol=0)
    expected = 0.5 + 0.4 * take.ego_camera.local_rays.float()
    middle = slice(16, 48)
    assert (take.ego[:, middle, middle] - expected[middle, middle]).abs().mean() < 0.02


def test_without_a_text_encoder(tmp_path, pipeline):
    shutil.copytree(pipeline / "vae", tmp_path / "vae_alone" / "vae")
    recipe = recipe_for(tmp_path, tmp_path / "vae_alone", {"rooms": [5, 1]})
    encoders = encoders_of(recipe, torch.device("cpu"))
    assert encoders.text_encoder is None
    assert encoders.text_without_padding("") is None
