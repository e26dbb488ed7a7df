"""The pocket transformer: it ignores its text, begins at a copy of the prior, and its file is stock Wan."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from exo2ego.attention.backends.reference import dense_bias
from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.choice import AUTO
from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.takes.random_rooms.take import TakeSize
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.data.clips import ClipBatch
from exo2ego.training.data.rooms import shards_in, write_rooms
from exo2ego.training.network.constant_text import ignore_text
from exo2ego.training.network.egox import EgoX, noised, velocity_losses
from exo2ego.training.network.guided_processor import Guidance, GuidedSelfAttention, bias_of_batch
from exo2ego.training.network.transformer import WanSize, new_transformer, transformer_of
from exo2ego.training.noise import LevelSettings, draw
from exo2ego.training.pocket.encode_rooms import IGNORED_WIDTH, encode_clip, encode_shard, measure_scale
from exo2ego.training.pocket.export import stock_transformer
from exo2ego.training.pocket.start import fit_head, start_quiet
from exo2ego.training.pocket.vae import pocket_vae

SIZE = WanSize(128, 128, 1, IGNORED_WIDTH, IGNORED_WIDTH)
LEVELS = LevelSettings(shift=30.0)
N_ROOMS = 40


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Clips of small rooms."""
    folder = tmp_path_factory.mktemp("pocket")
    write_rooms(folder, 1, TakeSize(5, 64, 32, 32), per_shard=N_ROOMS)
    torch.manual_seed(0)
    vae = pocket_vae(4).eval()
    (shard,) = shards_in(folder)
    scale = measure_scale(vae, shard)
    names = encode_shard(vae, scale, shard, folder / "cache", GGAGeometry.PHYSICAL)
    cache = ClipCache(folder / "cache")
    assert sorted(names) == sorted(cache.entries)
    return cache


def small(seed=0):
    network = new_transformer(SIZE, seed)
    ignore_text(network)
    return network


def batch(cache, *names):
    return ClipBatch.of([cache.read(name) for name in names])


def test_rooms_become_clips(cache):
    assert set(cache.entries) == {f"rooms_00000-{room:02d}" for room in range(N_ROOMS)}
    clip = cache.read("rooms_00000-00")
    assert clip.exo.shape == (16, 2, 4, 8)
    assert clip.ego.shape == (16, 2, 4, 4)
    unit = torch.cat([cache.read(name).ego.flatten(1) for name in cache.entries], 1).float()
    assert unit.std(dim=1).mean() == pytest.approx(1, abs=0.2)


def test_a_room_by_itself_becomes_the_same_clip(cache):
    torch.manual_seed(0)
    vae, shard = pocket_vae(4).eval(), cache.folder.parent / "rooms_00000.npz"
    with np.load(shard) as arrays:
        room = {name: arrays[name][6] for name in arrays.files}
    ours, theirs = encode_clip(vae, measure_scale(vae, shard), room, GGAGeometry.PHYSICAL), cache.read("rooms_00000-06")
    for name, value in ours.tensors().items():
        assert torch.allclose(value.float(), theirs.tensors()[name].float(), atol=2e-2), name


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clips_of_a_batch_are_guided_at_once_as_one_by_one(cache, dtype):
    clips = batch(cache, *(f"rooms_00000-0{room}" for room in range(4)))
    layout, bias = clips.layout, GGABias(GGAForm.PAPER, 1.0)
    for mask, directions in zip(bias_of_batch(layout, clips.directions, bias), clips.directions, strict=True):
        assert torch.equal(mask, dense_bias(layout, directions, bias))
    at_once, one_by_one = (GuidedSelfAttention(Guidance(bias, backend)) for backend in (AUTO, "sdpa"))
    results = []
    for guided in (at_once, one_by_one):
        guided.layout, guided.directions = layout, clips.directions
        generator = torch.Generator().manual_seed(0)
        q, k, v = (
            torch.randn(4, layout.n_tokens, 64, generator=generator).to(dtype).requires_grad_() for _ in range(3)
        )
        out = guided._attended(q, k, v, 2)
        (out.float() * torch.randn(out.shape, generator=generator)).sum().backward()
        results.append([out, q.grad, k.grad, v.grad])
    for ours, theirs in zip(*results, strict=True):
        error = (ours - theirs).float().norm() / theirs.float().norm()
        assert error < (1e-5 if dtype == torch.float32 else 1e-2)
    other = batch(cache, *(f"rooms_00000-0{room}" for room in (3, 2, 1, 0)))
    at_once.directions = other.directions  # of the next step
    assert not torch.equal(at_once._attended(q, k, v, 2), results[0][0])


def test_clips_that_are_held_are_those_of_the_files(cache):
    held = ClipCache(cache.folder)
    held.hold("cpu")
    for name in cache.entries:
        ours, theirs = held.read(name).tensors(), cache.read(name).tensors()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[part], theirs[part]) for part in ours)
    assert held.read("rooms_00000-00") is held.read("rooms_00000-00")


def test_it_begins_better_than_at_random(cache):
    names = [name for name in cache.entries if not name.startswith("rooms_00000-01")]
    network = new_transformer(replace(SIZE, width=256), 0)  # as wide as all channels of a patch, and more
    ignore_text(network)
    start_quiet(network)
    model = EgoX(network, None)
    batches = []
    for number, name in enumerate(8 * names):  # many times, for there are more features than tokens
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
    weights = cache.read("rooms_00000-00").weights
    for frame, (first, last) in enumerate([(0, 1), (1, 5)]):
        for row, column in product(range(4), range(4)):
            cell = arms[first:last, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert weights[frame, row, column] == (8 if cell.any() else 1)
    assert {1, 8} == set(cache.read("rooms_00000-00").weights.flatten().tolist())
    assert cache.stale("rooms_00000-00", {"arms": "4 times"}) == "arms was 8 times, is 4 times"


def test_rooms_of_before_are_refused_by_name(cache, tmp_path):
    with np.load(cache.folder.parent / "rooms_00000.npz") as arrays:
        np.savez(tmp_path / "rooms_00007.npz", **{name: arrays[name] for name in arrays.files if name != "arms"})
    vae = pocket_vae(4).eval()
    scale = measure_scale(vae, tmp_path / "rooms_00007.npz")
    with pytest.raises(ValueError, match=r"rooms_00007\.npz .* delete it and render it again"):
        encode_shard(vae, scale, tmp_path / "rooms_00007.npz", tmp_path / "cache", GGAGeometry.PHYSICAL)
