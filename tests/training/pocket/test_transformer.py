"""The pocket transformer: it ignores its text, begins at a copy of the prior, and its file is stock Wan."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.takes.random_rooms.take import TakeSize
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.data.clips import ClipBatch
from exo2ego.training.data.rooms import shards_in, write_rooms
from exo2ego.training.network.constant_text import ignore_text
from exo2ego.training.network.egox import EgoX, noised, velocity_losses
from exo2ego.training.network.guided_processor import Guidance
from exo2ego.training.network.transformer import WanSize, new_transformer, transformer_of
from exo2ego.training.noise import LevelSettings, draw
from exo2ego.training.pocket.encode_rooms import IGNORED_WIDTH, encode_shard, measure_scale
from exo2ego.training.pocket.export import stock_transformer
from exo2ego.training.pocket.start import fit_head, start_quiet
from exo2ego.training.pocket.vae import pocket_vae

SIZE = WanSize(128, 128, 1, IGNORED_WIDTH, IGNORED_WIDTH)
LEVELS = LevelSettings(shift=30.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Clips of two small rooms."""
    folder = tmp_path_factory.mktemp("pocket")
    write_rooms(folder, 1, TakeSize(5, 64, 32, 32), per_shard=2)
    torch.manual_seed(0)
    vae = pocket_vae(4).eval()
    (shard,) = shards_in(folder)
    scale = measure_scale(vae, shard)
    names = encode_shard(vae, scale, shard, folder / "cache", GGAGeometry.PHYSICAL, frames=(0, 4))
    cache = ClipCache(folder / "cache")
    assert sorted(names) == sorted(cache.entries)
    return cache


def small(seed=0):
    network = new_transformer(SIZE, seed)
    ignore_text(network)
    return network


def batch(cache, *names):
    return ClipBatch.of([cache.read(name) for name in names])


def test_rooms_become_clips_of_frames_and_of_one_frame_and_mirrored(cache):
    names = {
        f"rooms_00000-{room}{part}{way}"
        for room in ("00", "01")
        for part in ("", "-0", "-4")
        for way in ("", "-mirrored")
    }
    assert set(cache.entries) == names
    clip, mirrored = cache.read("rooms_00000-00"), cache.read("rooms_00000-00-mirrored")
    assert clip.exo.shape == (16, 2, 4, 8)
    assert clip.ego.shape == (16, 2, 4, 4)
    assert cache.read("rooms_00000-00-4").exo.shape == (16, 1, 4, 8)
    # The first frame of a clip is encoded by itself, and so is the same alone.
    assert torch.equal(cache.read("rooms_00000-00-0").ego, clip.ego[:, :1])
    # The angle of a pair of tokens is that of the pair in the mirror.
    angles = torch.einsum("tabx,tkcdx->tabkcd", clip.ego_queries, clip.exo_keys)
    others = torch.einsum("tabx,tkcdx->tabkcd", mirrored.ego_queries, mirrored.exo_keys)
    assert torch.equal(angles, others.flip(2, 5))
    unit = torch.cat([cache.read(name).ego.flatten(1) for name in ("rooms_00000-00", "rooms_00000-01")], 1).float()
    assert unit.std(dim=1).mean() == pytest.approx(1, abs=0.5)


def test_text_and_features_change_nothing_and_only_the_constant_of_cross_attention_is_trained(cache):
    clips = batch(cache, "rooms_00000-00")
    network = small()
    noise, levels = torch.randn(clips.ego.shape), torch.tensor([0.9])
    torch.nn.init.normal_(network.blocks[0].attn2.to_out[0].bias)
    model = EgoX(network, Guidance(GGABias(GGAForm.PAPER, 1.0), "sdpa"))
    told = replace(clips, text=torch.randn_like(clips.text), features=torch.randn_like(clips.features))
    assert torch.equal(model(clips, noise, levels), model(told, noise, levels))
    velocity_losses(model(clips, noise, levels), clips.ego, noise).sum().backward()
    trained = {name for name, value in network.named_parameters() if value.grad is not None}
    assert {name for name in trained if ".attn2." in name} == {"blocks.0.attn2.to_out.0.bias"}
    assert not any(name.startswith(("condition_embedder.text", "condition_embedder.image")) for name in trained)
    assert all(value.grad is not None for value in network.parameters() if value.requires_grad)


def test_the_stock_network_of_the_file_computes_the_same(cache):
    """diffusers' own cross-attention over the exported weights, with any text of Wan's own width."""
    clips = batch(cache, "rooms_00000-00")
    network = small()
    torch.nn.init.normal_(network.blocks[0].attn2.to_out[0].bias)
    stored = stock_transformer(network)
    assert stored["text_embedding.0.weight"].shape == (128, 4096)
    assert stored["img_emb.proj.1.weight"].shape == (1280, 1280)
    stock = transformer_of(stored, "pocket.safetensors")
    told = replace(clips, text=torch.randn(1, 512, 4096), features=torch.randn(1, 257, 1280))
    noise, levels = torch.randn(clips.ego.shape), torch.tensor([0.9])
    guidance = Guidance(GGABias(GGAForm.PAPER, 1.0), "sdpa")
    with torch.no_grad():
        ours = EgoX(network, guidance)(clips, noise, levels)
        theirs = EgoX(stock, guidance)(told, noise, levels)
    assert torch.allclose(ours, theirs, atol=1e-5)
    with pytest.raises(ValueError, match="listens to its text"):
        stock_transformer(new_transformer(SIZE, 0))


def test_it_begins_better_than_at_random(cache):
    names = [name for name in cache.entries if name.startswith("rooms_00000-00")]
    network = new_transformer(replace(SIZE, width=256), 0)  # as wide as all channels of a patch, and more
    ignore_text(network)
    start_quiet(network)
    model = EgoX(network, None)
    batches = []
    for number, name in enumerate(20 * names):  # many times, for there are more features than tokens of two rooms
        clips = batch(cache, name)
        draws = draw(clips.ego.shape[1:], LEVELS, 0, number, [0])
        batches.append((clips, draws.noise, draws.levels))
    fit_head(model, batches)
    clips = batch(cache, "rooms_00000-01")
    draws = draw(clips.ego.shape[1:], LEVELS, 1, 0, [0])
    noise, levels = draws.noise, draws.levels
    with torch.no_grad():
        loss = velocity_losses(model(clips, noised(clips.ego, noise, levels), levels), clips.ego, noise).item()
        nothing = velocity_losses(torch.zeros_like(noise), clips.ego, noise).item()
    assert loss < 0.7 * nothing  # the noise is seen; the untrained VAE tells little of the view


def test_cells_that_show_arms_count_for_more(cache):
    shard = cache.folder.parent / "rooms_00000.npz"
    with np.load(shard) as arrays:
        arms = torch.from_numpy(arrays["arms"][0])  # [5, 32, 32]
    for name, shown in (("", arms), ("-4", arms[4:]), ("-mirrored", arms.flip(-1))):
        weights = cache.read(f"rooms_00000-00{name}").weights
        ends = [(0, 1), (1, 5)] if len(shown) == 5 else [(0, 1)]
        for frame, (first, last) in enumerate(ends):
            for row, column in product(range(4), range(4)):
                cell = shown[first:last, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                assert weights[frame, row, column] == (4 if cell.any() else 1)
    assert {1, 4} == set(cache.read("rooms_00000-00").weights.flatten().tolist())


def test_rooms_of_before_are_refused_by_name(cache, tmp_path):
    with np.load(cache.folder.parent / "rooms_00000.npz") as arrays:
        np.savez(tmp_path / "rooms_00007.npz", **{name: arrays[name] for name in arrays.files if name != "arms"})
    vae = pocket_vae(4).eval()
    scale = measure_scale(vae, tmp_path / "rooms_00007.npz")
    with pytest.raises(ValueError, match=r"rooms_00007\.npz .* delete it and render it again"):
        encode_shard(vae, scale, tmp_path / "rooms_00007.npz", tmp_path / "cache", GGAGeometry.PHYSICAL)
