"""The cache: what is encoded equals what the nodes encode, and what is stale is noticed."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.directions.clip import ClipGeometry
from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.takes.egox.read import read_take
from exo2ego.takes.egox.write import write_take
from exo2ego.takes.example.room import example_take
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.data.caching import make_cache
from exo2ego.training.data.encoders import load_encoders
from exo2ego.training.data.encoding import encode_take
from exo2ego.training.data.sources import clips_of
from support.tiny_pipeline import IMAGE_WIDTH, TEXT_WIDTH, write_tiny_pipeline
from support.tiny_vae import vae_state_dict
from support.training import in_model_scale, tiny_recipe

SIZES = {"frames": 5, "exo_size": [96, 64], "ego_size": [64, 64]}
DATA = {"takes": ["takes/a", "takes/b"], "held_out": ["b"], **SIZES}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_tiny_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def encoders(pipeline):
    return load_encoders(pipeline, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def take():
    made = example_take(5, exo_width=96, exo_height=64, ego_size=64)
    return replace(made, ego_prior=0.5 * made.ego_truth)


@pytest.fixture
def folder(tmp_path, take):
    for name in ("a", "b"):
        write_take(take, tmp_path / "takes" / name)
    return tmp_path


def recipe_for(folder, **data):
    return tiny_recipe(folder, data={**DATA, **data})


def made(folder, recipe, encoders):
    return make_cache(recipe, folder, lambda: encoders, lambda line: None)


def test_latents_are_those_of_comfyui_s_vae(take, encoders):
    import comfy.sd

    vae = comfy.sd.VAE(sd=vae_state_dict())
    expected = in_model_scale(vae.encode(take.exo).float())[0]
    torch.testing.assert_close(encoders.latent(take.exo), expected, rtol=0, atol=1e-3)


def test_an_encoded_take(take, encoders, tmp_path):
    clip = encode_take(take, encoders, tiny_recipe(tmp_path, data=SIZES))
    assert tuple(clip.exo.shape) == (16, 2, 8, 12)
    assert tuple(clip.text.shape) == (512, TEXT_WIDTH)
    assert tuple(clip.features.shape) == (5, IMAGE_WIDTH)
    geometry = ClipGeometry(take.exo_camera, take.depth, take.ego_camera, GGAGeometry.AS_RELEASED)
    assert torch.equal(clip.exo_keys, geometry.directions(clip.layout).exo_keys)
    torch.testing.assert_close(clip.ego, encoders.latent(take.ego_truth))
    torch.testing.assert_close(clip.prior, encoders.latent(take.ego_prior))


def test_match_released_training_shows_black_and_its_own_geometry(take, encoders, tmp_path):
    ours = encode_take(take, encoders, tiny_recipe(tmp_path, data=SIZES))
    theirs = encode_take(take, encoders, tiny_recipe(tmp_path, data=SIZES, egox={"match": "released training"}))
    black = encoders.features(torch.zeros(64, 96, 3))
    assert torch.equal(theirs.features, black)
    assert not torch.equal(ours.features, black)
    assert not torch.equal(ours.ego_queries, theirs.ego_queries)


def test_a_text_is_cut_before_it_is_encoded(encoders):
    short, long = encoders.text("a b"), encoders.text("x" * 900)
    assert short[4:].abs().max() == 0  # two letters, a space and the end token
    assert long.abs().amax(dim=1).min() > 0
    assert torch.equal(long, encoders.text("x" * 511))


def test_what_is_fresh_stays(folder, encoders):
    recipe = recipe_for(folder)
    assert made(folder, recipe, encoders) == 2
    times = {path: path.stat().st_mtime_ns for path in recipe.data.cache.glob("clips-*")}
    assert made(folder, recipe, encoders) == 0
    assert {path: path.stat().st_mtime_ns for path in recipe.data.cache.glob("clips-*")} == times
    cache = clips_of(recipe, folder)
    assert set(cache.entries) == {"a", "b"}
    assert cache.negative().shape == (512, TEXT_WIDTH)
    assert torch.equal(cache.read("a").exo, encoders.latent(read_take(folder / "takes" / "a").exo))


def test_another_geometry_or_file_is_noticed_and_made_again(folder, encoders):
    made(folder, recipe_for(folder), encoders)
    physical = tiny_recipe(folder, data=DATA, egox={"geometry": "physical"})
    with pytest.raises(ValueError, match=r"a in .* is stale \(geometry was as released, is physical\)"):
        clips_of(physical, folder)
    (folder / "takes" / "a" / "ego_Prior.mp4").touch()
    with pytest.raises(ValueError, match=r"a in .* is stale \(file ego_Prior.mp4 was"):
        clips_of(recipe_for(folder), folder)
    assert made(folder, recipe_for(folder), encoders) == 1
    assert made(folder, physical, encoders) == 2
    clips_of(physical, folder)


def test_clips_that_are_not_there_are_named(folder, encoders):
    made(folder, recipe_for(folder, takes=["takes/a"], held_out=[]), encoders)
    with pytest.raises(ValueError, match=r"held_out names b, which is not in .*cache: run `training cache`"):
        clips_of(recipe_for(folder, takes=["takes/a"]), folder)
    with pytest.raises(ValueError, match=r"1 of 2 takes are not all in .*cache, such as b: run `training cache`"):
        clips_of(recipe_for(folder, held_out=[]), folder)


def test_a_cache_without_its_takes(folder, encoders):
    """As on another machine: clips are known by their names."""
    recipe = recipe_for(folder)
    made(folder, recipe, encoders)
    (folder / "takes").rename(folder / "elsewhere")
    assert set(clips_of(recipe, folder).entries) == {"a", "b"}


def test_a_part_of_the_takes(folder, encoders):
    recipe = recipe_for(folder)
    assert make_cache(recipe, folder, lambda: encoders, lambda line: None, part=(2, 2)) == 1
    assert set(ClipCache(recipe.data.cache).entries) == {"b"}


def test_parts_share_the_takes_whenever_they_start(folder, encoders, take):
    """A part that starts late must not divide anew what is left: takes would be made twice, or by nobody."""
    for name in ("c", "d"):
        write_take(take, folder / "takes" / name)
    recipe = recipe_for(folder, takes=["takes/a", "takes/b", "takes/c", "takes/d"])

    def part(index):
        return make_cache(recipe, folder, lambda: encoders, lambda line: None, part=(index, 2))

    assert (part(1), part(2)) == (2, 2)
    assert set(clips_of(recipe, folder).entries) == {"a", "b", "c", "d"}


def test_a_damaged_shard_is_named_and_made_again(folder, encoders):
    recipe = recipe_for(folder)
    made(folder, recipe, encoders)
    cache = clips_of(recipe, folder)
    shard, other = cache.entries["a"].shard, cache.entries["b"].shard
    kept = other.stat().st_mtime_ns
    for size in (shard.stat().st_size - 1, 100, 0):  # within the last tensor, within the header, empty
        with open(shard, "r+b") as file:
            file.truncate(size)
        with pytest.raises(ValueError, match=rf"{shard.name} is truncated or corrupt .* run `training cache` again"):
            clips_of(recipe, folder)
        lines = []
        assert make_cache(recipe, folder, lambda: encoders, lines.append) == 1
        assert f"{shard.name} is truncated or corrupt" in lines[0]
        assert "Its clips are made again." in lines[0]
        assert torch.equal(clips_of(recipe, folder).read("a").exo, clips_of(recipe, folder).read("b").exo)
    assert other.stat().st_mtime_ns == kept
    (recipe.data.cache / "clips-0.safetensors").write_bytes(b"nothing of ours")
    with pytest.raises(ValueError, match=r"1 damaged shards hold no clip of this recipe\. .*clips-0.* Delete it"):
        made(folder, recipe, encoders)


def test_a_full_disk_keeps_the_clips_that_were_made(folder, encoders, small_disk):
    """The second clip does not fit; with more room the same command makes it alone."""
    cache, filler = str(small_disk / "cache"), small_disk / "filler"
    made(folder, recipe_for(folder, takes=["takes/a"], cache=cache), encoders)
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    recipe = recipe_for(folder, takes=["takes/a", "takes/b"], cache=cache)
    with pytest.raises(OSError, match=r"the disk is full .* 0 clips that this run has made are in the cache and stay"):
        made(folder, recipe, encoders)
    assert set(ClipCache(recipe.data.cache).entries) == {"a"}
    assert not list(recipe.data.cache.glob(".*"))
    filler.unlink()
    assert made(folder, recipe, encoders) == 1
    assert set(clips_of(recipe, folder).entries) == {"a", "b"}


def test_another_negative_text_or_encoder_is_noticed(folder, encoders, pipeline):
    recipe = tiny_recipe(folder, data=DATA, encoders={"folder": str(pipeline)})
    made(folder, recipe, encoders)
    other = tiny_recipe(folder, data=DATA, encoders={"folder": str(pipeline), "negative": "blurred"})
    with pytest.raises(ValueError, match=r"negative.safetensors is stale: .* Run `training cache`"):
        clips_of(other, folder)
    assert made(folder, other, encoders) == 0
    assert torch.equal(clips_of(other, folder).negative(), encoders.text("blurred"))
    copy = shutil.copytree(pipeline, folder / "pipeline")
    moved = tiny_recipe(folder, data=DATA, encoders={"folder": str(copy), "negative": "blurred"})
    clips_of(moved, folder)
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"a in .* is stale \(encoders was .*, is"):
        clips_of(moved, folder)


@pytest.mark.parametrize(("lacks", "message"), [("ego_prior", "no ego prior"), ("ego_truth", "no true ego view")])
def test_a_take_without_a_view_is_refused(take, encoders, tmp_path, lacks, message):
    with pytest.raises(ValueError, match=message):
        encode_take(replace(take, **{lacks: None}), encoders, tiny_recipe(tmp_path, data=SIZES))


def test_videos_of_another_size_are_refused(take, encoders, tmp_path):
    sizes = r"other sizes than \[data\] says: exo 96 x 64 in place of 784 x 448, true ego 64 x 64 in place of 448 x 448"
    with pytest.raises(ValueError, match=sizes):
        encode_take(take, encoders, tiny_recipe(tmp_path, data={"frames": 5}))
    with pytest.raises(ValueError, match=r"example_room does not .* has 5 frames, and \[data\] says 49"):
        encode_take(take, encoders, tiny_recipe(tmp_path))


def test_a_pipeline_that_is_not_whole(tmp_path):
    with pytest.raises(ValueError, match="has no vae, text_encoder"):
        load_encoders(tmp_path, torch.device("cpu"))
