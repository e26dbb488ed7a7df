"""EgoX and GGA beside the other things that artists put on a MODEL."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from exo2ego.wan.egox.lora import apply_lora, read_lora
from support.egox_graph import KnownDirections, run_graph, with_egox, with_gga, with_override
from support.egox_witness import made_up_clip


@pytest.fixture
def expected(model, clip):
    return run_graph(with_gga(with_egox(model, clip), clip), clip)


def test_order_of_egox_and_gga_is_free(model, clip, expected):
    assert torch.equal(run_graph(with_egox(with_gga(model, clip), clip), clip), expected)


def test_applied_twice_is_applied_once(model, clip, expected):
    twice = with_gga(with_egox(with_gga(with_egox(model, clip), clip), clip), clip)
    assert torch.equal(run_graph(twice, clip), expected)


def test_applied_again_replaces(model, clip, expected):
    other = made_up_clip(seed=9)
    again = with_gga(with_egox(with_gga(with_egox(model, other), other), clip), clip)
    assert torch.equal(run_graph(again, clip), expected)


def test_the_models_before_stay_as_they_were(model, clip):
    before = run_graph(model, clip)
    egox = with_egox(model, clip)
    only_egox = run_graph(egox, clip)
    run_graph(with_gga(egox, clip), clip)
    assert torch.equal(run_graph(egox, clip), only_egox)
    assert torch.equal(run_graph(model, clip), before)
    assert not model.wrappers
    assert not model.object_patches
    assert model.model_options == {"transformer_options": {}}
    assert (before - only_egox).abs().max() > 0.05


def test_nothing_that_comes_in_is_changed(model, clip):
    exo, queries = clip.exo.clone(), clip.ego_queries.clone()
    options_seen = []

    def watch(executor, *args, **kwargs):
        before = dict(args[5])
        out = executor(*args, **kwargs)
        options_seen.append((before, dict(args[5])))
        return out

    watched = model.clone()
    watched.add_wrapper_with_key("diffusion_model", "watch", watch)  # outside of EgoX and GGA
    run_graph(with_gga(with_egox(watched, clip), clip), clip)
    assert torch.equal(clip.exo, exo)
    assert torch.equal(clip.ego_queries, queries)
    assert options_seen
    for before, after in options_seen:
        assert before.keys() == after.keys()
        assert "exo2ego" not in after
        assert "optimized_attention_override" not in after


@pytest.mark.parametrize("lora_first", [True, False])
def test_lora_before_or_after(model, tiny_files, clip, expected, lora_first):
    lora = read_lora(tiny_files["lora"])
    if lora_first:
        patched = with_gga(with_egox(apply_lora(model, lora), clip), clip)
    else:
        patched = apply_lora(with_egox(with_gga(model, clip), clip), lora)
    merged = model.model.diffusion_model
    with torch.no_grad():
        saved = {name: value.clone() for name, value in merged.state_dict().items()}
        for layer, update in lora.layers.items():
            merged.get_submodule(layer).weight += update.up.float() @ update.down.float()
        by_hand = run_graph(with_gga(with_egox(model, clip), clip), clip)
        merged.load_state_dict(saved)
    torch.testing.assert_close(run_graph(patched, clip), by_hand, rtol=0, atol=1e-4)
    assert (by_hand - expected).abs().max() > 0.05


@pytest.mark.parametrize("cache_first", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 10.0])
def test_easy_cache(model, clip, cache_first, threshold):
    """The cache measures and keeps the ego view, whether it comes before or after EgoX."""
    from comfy_extras.nodes_easycache import EasyCacheNode

    def with_cache(patched):
        return EasyCacheNode.execute(patched, threshold, 0.0, 1.0, False).result[0]

    shapes = []

    def with_watch(patched):
        def watch(executor, x, *args, **kwargs):
            shapes.append(x.shape[-1])
            return executor(x, *args, **kwargs)

        watched = patched.clone()
        watched.add_wrapper_with_key("diffusion_model", "watch", watch)
        return watched

    if cache_first:
        patched = with_gga(with_egox(with_watch(with_cache(model)), clip), clip)
    else:
        patched = with_watch(with_cache(with_gga(with_egox(model, clip), clip)))
    got = run_graph(patched, clip, steps=6)
    assert got.isfinite().all()
    assert torch.equal(got, run_graph(with_gga(with_egox(with_cache(model), clip), clip), clip, steps=6))
    full = run_graph(with_gga(with_egox(model, clip), clip), clip, steps=6)
    assert torch.equal(got, full) == (threshold == 0.0)
    assert set(shapes) == {clip.prior.shape[-1]}
    assert (len(shapes) < 6) == (threshold > 0.0)  # skipped steps


@pytest.mark.parametrize("compile_first", [True, False])
@pytest.mark.parametrize("keys", [["diffusion_model"], ["diffusion_model.blocks.0", "diffusion_model.blocks.1"]])
def test_torch_compile(model, clip, expected, compile_first, keys):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def compiled(patched):
        clone = patched.clone()
        set_torch_compile_wrapper(clone, backend="eager", keys=keys)
        return clone

    torch._dynamo.reset()
    patched = with_gga(with_egox(compiled(model), clip), clip) if compile_first else None
    patched = patched or compiled(with_gga(with_egox(model, clip), clip))
    torch.testing.assert_close(run_graph(patched, clip), expected, rtol=0, atol=1e-5)


def test_compile_cache_and_overrides_together(model, clip, expected):
    """All that an artist puts around it at once: overrides before and after, EasyCache, torch.compile."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_easycache import EasyCacheNode

    calls = {"before": 0, "after": 0}

    def counting(name):
        def override(function, q, k, v, heads, *args, **kwargs):
            calls[name] += 1
            return function(q, k, v, heads, *args, **kwargs)

        return override

    torch._dynamo.reset()
    patched = with_gga(with_egox(with_override(model, counting("before")), clip), clip)
    patched = EasyCacheNode.execute(patched, 0.0, 0.0, 1.0, False).result[0]
    set_torch_compile_wrapper(patched, backend="eager", keys=["diffusion_model"])
    torch.testing.assert_close(run_graph(patched, clip), expected, rtol=0, atol=1e-5)
    assert calls["before"] > 0
    patched = with_override(patched, counting("after"))
    torch.testing.assert_close(run_graph(patched, clip), expected, rtol=0, atol=1e-5)
    assert calls["after"] > 0


def test_attention_overrides_of_others_keep_everything_but_biased_queries(model, clip, expected):
    """Sage and flash overrides get exo queries and cross-attention, whether they come before or after GGA."""
    seen = []

    def override(function, q, k, v, heads, *args, **kwargs):
        seen.append((q.shape[1], k.shape[1]))
        return function(q, k, v, heads, *args, **kwargs)

    frames, rows, exo, ego = 3, 3, 5, 3
    tokens, exo_tokens = frames * rows * (exo + ego), frames * rows * exo
    for patched in (
        with_gga(with_egox(with_override(model, override), clip), clip),
        with_override(with_egox(with_gga(model, clip), clip), override),
    ):
        seen.clear()
        assert torch.equal(run_graph(patched, clip), expected)
        self_attention = [shapes for shapes in seen if shapes[1] == tokens]
        assert self_attention == [(exo_tokens, tokens)] * 2 * 3  # 2 blocks, 3 steps
        assert seen.count((tokens, 257)) == seen.count((tokens, 512)) == 2 * 3


def test_overrides_get_chunks_and_every_head_once(model, clip, expected, monkeypatch):
    """Sage prepares all keys at every call: chunks of heads, not of queries, let it prepare each key once."""
    monkeypatch.setattr("exo2ego.attention.guided_attention._EXO_BYTES", 2 * 3 * 3 * 5 * 128 * 4)  # of one head
    seen = []

    def override(function, q, k, v, heads, *args, **kwargs):
        seen.append((q.shape[1], k.shape[1], heads))
        return function(q, k, v, heads, *args, **kwargs)

    patched = with_gga(with_egox(with_override(model, override), clip), clip)
    torch.testing.assert_close(run_graph(patched, clip), expected, rtol=0, atol=1e-5)
    assert seen.count((3 * 3 * 5, 3 * 3 * (5 + 3), 1)) == 2 * 2 * 3  # 2 heads, 2 blocks, 3 steps
    assert not [call for call in seen if call[1] == 3 * 3 * (5 + 3) and call[2] != 1]


def test_an_override_that_changes_attention_is_in_force(model, clip, expected):
    """Not only called: what it returns counts."""

    def zero(function, q, k, v, heads, *args, **kwargs):
        return torch.zeros_like(q)

    got = run_graph(with_gga(with_egox(with_override(model, zero), clip), clip), clip)
    assert (got - expected).abs().max() > 0.05


def test_block_patches_of_others_stay(model, clip, expected):
    calls = []

    def block_patch(args, extra):
        calls.append(args["img"].shape[1])
        return extra["original_block"](args)

    patched = model.clone()
    patched.set_model_patch_replace(block_patch, "dit", "double_block", 1)
    assert torch.equal(run_graph(with_gga(with_egox(patched, clip), clip), clip), expected)
    assert len(calls) == 3


def test_warns_once_when_a_pack_replaces_self_attention(model, clip, caplog):
    own = model.model.diffusion_model.blocks[1].self_attn

    def replaced(x, freqs, transformer_options=None):
        return own.o(own.v(x))

    patched = with_gga(with_egox(model, clip), clip)
    patched.add_object_patch("diffusion_model.blocks.1.self_attn.forward", replaced)
    with caplog.at_level(logging.WARNING):
        run_graph(patched, clip)
    warnings = [record.getMessage() for record in caplog.records if "GGA" in record.getMessage()]
    assert len(warnings) == 1
    assert "1 of 2 blocks" in warnings[0]


def test_warns_when_a_pack_runs_the_blocks_itself(model, clip, caplog):
    network = model.model.diffusion_model

    def replaced(x, t, context, **kwargs):
        return x[:, :16]

    patched = with_gga(with_egox(model, clip), clip)
    patched.add_object_patch("diffusion_model.forward_orig", replaced)
    with caplog.at_level(logging.WARNING):
        run_graph(patched, clip)
    assert network is not None
    assert [record for record in caplog.records if "GGA had no effect" in record.getMessage()]


def test_no_warning_when_all_is_well(model, clip, caplog):
    with caplog.at_level(logging.WARNING):
        run_graph(with_gga(with_egox(model, clip), clip), clip)
    assert not [record for record in caplog.records if "GGA" in record.getMessage()]


def test_an_exo_clip_for_every_item_of_the_batch(model, clip):
    other = made_up_clip(seed=3)
    both = replace(clip, exo=torch.cat([clip.exo, other.exo]))
    got = run_graph(with_egox(model, both), clip, batch=2)
    noise_shared = [run_graph(with_egox(model, replace(clip, exo=exo)), clip, batch=2) for exo in both.exo.split(1)]
    torch.testing.assert_close(got[0], noise_shared[0][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(got[1], noise_shared[1][1], rtol=0, atol=1e-5)


def test_directions_are_computed_once(model, clip):
    calls = []

    class Counting(KnownDirections):
        def directions(self, grid, progress=None):
            calls.append(grid)
            return super().directions(grid, progress)

    from exo2ego.wan.egox.gga import apply_gga

    patched = apply_gga(with_egox(model, clip), Counting(clip.ego_queries, clip.exo_keys))
    run_graph(patched, clip)
    run_graph(patched.clone(), clip)
    assert len(calls) == 1
