"""Recorded attention against dense rows of the queries and keys that the network's own attention calls get."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.wan.egox.attention_probe import ProbeStep, record_attention
from exo2ego.wan.egox.lora import apply_lora, read_lora
from support.egox_graph import SEED, SHIFT, noise_of, run_graph, with_egox, with_gga, with_override
from support.egox_witness import MEAN, STD, dense_pair_bias, made_up_clip, simple_sigmas
from support.wan_witnesses import egox_conditioning

# The made-up clip: 3 latent frames of 3 rows, 5 exo and 3 ego columns.
FRAMES, ROWS, EXO, EGO = 3, 3, 5, 3
TOKENS = FRAMES * ROWS * (EXO + EGO)
# Frame 7 is in latent frame 2; the point is in row 1, ego column 2.
POINT = {"frame": 7, "x": 0.9, "y": 0.5}
INDEX = (2 * ROWS + 1) * (EXO + EGO) + EXO + 2


def record(model, clip, at=None, latent=None, **settings):
    positive = egox_conditioning(clip.positive, clip.prior, clip.clip_features)
    latent = {"samples": torch.zeros_like(clip.prior)} if latent is None else latent
    with torch.inference_mode():
        at = at or ProbeStep(step=0, steps=3, seed=SEED)
        return record_attention(model, positive, latent, at, **{**POINT, **settings})


@pytest.fixture
def attention_calls(monkeypatch):
    """Queries and keys of every self-attention of the network, in order, seen from below all hooks."""
    import comfy.ldm.wan.model as wan

    calls, original = [], wan.optimized_attention

    def spy(q, k, v, heads, **kwargs):
        # Newer versions of ComfyUI hand them over in containers, so that attention lets go of them.
        query, key = (x.peek() if hasattr(x, "peek") else x for x in (q, k))
        if key.shape[1] == TOKENS:
            calls.append((query.double(), key.double(), heads))
        return original(q, k, v, heads=heads, **kwargs)

    monkeypatch.setattr(wan, "optimized_attention", spy)
    return calls


def dense_row(q, k, heads, bias=None) -> torch.Tensor:
    """The chosen token's row of the whole softmax, averaged over heads: [3, 3, 8]."""
    query, key = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k))
    logits = query @ key.mT / 128**0.5
    full = (logits if bias is None else logits + bias).softmax(dim=-1)
    return full[:, :, INDEX].mean(dim=(0, 1)).view(FRAMES, ROWS, EXO + EGO)


def assert_is(found, expected):
    torch.testing.assert_close(torch.cat([found.exo, found.ego], dim=-1).double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gga_first", [True, False])
@pytest.mark.parametrize("form", [("paper", 2.0), ("release", 3.0)])
def test_equals_rows_of_dense_attention(model, clip, attention_calls, gga_first, form):
    if gga_first:
        patched = with_egox(with_gga(model, clip, form=form[0], strength=form[1]), clip)
    else:
        patched = with_gga(with_egox(model, clip), clip, form=form[0], strength=form[1])
    found = record(patched, clip)
    bias = dense_pair_bias(clip, *form)
    assert len(attention_calls) == 2
    assert_is(found.plain, torch.stack([dense_row(*call) for call in attention_calls]).mean(dim=0))
    assert_is(found.guided, torch.stack([dense_row(*call, bias) for call in attention_calls]).mean(dim=0))
    assert (found.plain.exo - found.guided.exo).abs().max() > 1e-3
    assert (found.recorded, found.guided_blocks) == (2, 2)
    assert 0 < found.guided_angle < found.plain_angle < 180


def test_without_gga_there_is_the_plain_map_alone(model, clip, attention_calls):
    found = record(with_egox(model, clip), clip)
    assert found.guided is None
    assert (found.plain_angle, found.guided_angle, found.guided_blocks) == (None, None, 0)
    assert_is(found.plain, torch.stack([dense_row(*call) for call in attention_calls]).mean(dim=0))


@pytest.mark.parametrize("block", [0, 1])
def test_chosen_blocks(model, clip, attention_calls, block):
    found = record(with_gga(with_egox(model, clip), clip), clip, first_block=block, last_block=block)
    assert_is(found.plain, dense_row(*attention_calls[block]))
    assert found.blocks == range(block, block + 1)


@pytest.mark.parametrize(
    ("settings", "guided_blocks"),
    [({"first_block": 1}, 1), ({"start_percent": 0.5}, 0), ({"last_block": 0, "end_percent": 0.9}, 1)],
)
def test_where_gga_does_not_act_the_map_shows_what_its_bias_would_do(
    model, clip, attention_calls, settings, guided_blocks
):
    found = record(with_gga(with_egox(model, clip), clip, **settings), clip)
    bias = dense_pair_bias(clip, "release", 3.0)
    assert found.guided_blocks == guided_blocks
    assert_is(found.plain, torch.stack([dense_row(*call) for call in attention_calls]).mean(dim=0))
    assert_is(found.guided, torch.stack([dense_row(*call, bias) for call in attention_calls]).mean(dim=0))


def test_step_0_is_the_first_step_of_the_ksampler(model, clip, attention_calls):
    patched = with_gga(with_egox(model, clip), clip)
    run_graph(patched, clip, cfg=1.0)
    first_step = attention_calls[:2]
    found = record(patched, clip)
    assert_is(found.plain, torch.stack([dense_row(*call) for call in first_step]).mean(dim=0))


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_sampled_latent_is_noised_to_the_level_of_the_step(model, clip, step):
    inputs = []

    def watch(executor, x, *args, **kwargs):
        inputs.append(x[:, :16].clone())
        return executor(x, *args, **kwargs)

    watched = model.clone()
    watched.add_wrapper_with_key("diffusion_model", "watch", watch)
    sampled = made_up_clip(seed=8).prior
    found = record(with_egox(watched, clip), clip, ProbeStep(step, 3, "simple", SEED), {"samples": sampled})
    sigma = simple_sigmas(3, SHIFT)[step]
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    (x,) = inputs
    torch.testing.assert_close(x, sigma * noise_of(clip) + (1 - sigma) * (sampled - mean) / std, rtol=1e-5, atol=1e-5)
    assert found.sigma == pytest.approx(float(sigma))


@pytest.mark.parametrize("override_last", [True, False])
def test_overrides_of_others_stay_in_force(model, clip, attention_calls, override_last):
    lengths = []

    def override(function, q, k, v, heads, *args, **kwargs):
        lengths.append((q.shape[1], k.shape[1]))
        return function(q, k, v, heads, *args, **kwargs)

    if override_last:
        patched = with_override(with_gga(with_egox(model, clip), clip), override)
    else:
        patched = with_gga(with_egox(with_override(model, override), clip), clip)
    found = record(patched, clip)
    assert lengths.count((FRAMES * ROWS * EXO, TOKENS)) == 2  # the exo queries of two blocks
    assert_is(found.plain, torch.stack([dense_row(*call) for call in attention_calls]).mean(dim=0))


def test_what_an_override_returns_counts(model, clip):
    """The second block's queries depend on the first one's attention."""

    def zero(function, q, k, v, heads, *args, **kwargs):
        return torch.zeros_like(q)

    changed, usual = (
        record(patched, clip, first_block=1).plain.exo
        for patched in (with_egox(with_override(model, zero), clip), with_egox(model, clip))
    )
    assert (changed - usual).abs().max() > 1e-3


def test_lora(model, tiny_files, clip, attention_calls):
    found = record(apply_lora(with_egox(model, clip), read_lora(tiny_files["lora"])), clip)
    with_lora = torch.stack([dense_row(*call) for call in attention_calls]).mean(dim=0)
    assert_is(found.plain, with_lora)
    assert (record(with_egox(model, clip), clip).plain.exo - found.plain.exo).abs().max() > 1e-3


def test_easy_cache_skips_nothing(model, clip):
    from comfy_extras.nodes_easycache import EasyCacheNode

    cached = EasyCacheNode.execute(with_gga(with_egox(model, clip), clip), 10.0, 0.0, 1.0, False).result[0]
    for step in (0, 1):
        at = ProbeStep(step, 3, seed=SEED)
        expected = record(with_gga(with_egox(model, clip), clip), clip, at)
        assert torch.equal(record(cached, clip, at).guided.exo, expected.guided.exo)


def test_torch_compile(model, clip):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    expected = record(with_gga(with_egox(model, clip), clip), clip)
    torch._dynamo.reset()
    compiled = with_gga(with_egox(model, clip), clip)
    set_torch_compile_wrapper(compiled, backend="eager", keys=["diffusion_model"])
    torch.testing.assert_close(record(compiled, clip).guided.exo, expected.guided.exo, rtol=1e-4, atol=1e-7)


def test_the_model_stays_as_it_was(model, clip):
    patched = with_gga(with_egox(model, clip), clip)
    before = run_graph(patched, clip)
    wrappers = {kind: {key: list(found) for key, found in keys.items()} for kind, keys in patched.wrappers.items()}
    first = record(patched, clip)
    assert torch.equal(record(patched, clip).plain.exo, first.plain.exo)
    assert wrappers == patched.wrappers
    assert torch.equal(run_graph(patched, clip), before)


def test_progress_and_cancel(model, clip):
    seen = []
    record(with_egox(model, clip), clip, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        record(with_egox(model, clip), clip, progress=cancel)


def replaced_self_attention(model, *blocks):
    """Replace self-attention as packs with own attention do."""
    patched = model.clone()
    for index in blocks:
        own = model.model.diffusion_model.blocks[index].self_attn
        patched.add_object_patch(
            f"diffusion_model.blocks.{index}.self_attn.forward",
            lambda x, freqs, transformer_options=None, own=own: own.o(own.v(x)),
        )
    return patched


def test_blocks_that_cannot_be_recorded_are_counted(model, clip):
    found = record(with_egox(replaced_self_attention(model, 1), clip), clip)
    assert (found.recorded, len(found.blocks)) == (1, 2)


def test_nothing_recorded_is_an_error(model, clip):
    with pytest.raises(ValueError, match="another node replaces Wan's self-attention"):
        record(with_egox(replaced_self_attention(model, 0, 1), clip), clip)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame": 9}, "frames 0 to 8, got frame 9"),
        ({"frame": -1}, "frames 0 to 8"),
        ({"x": 1.5}, "from 0 to 1"),
        ({"first_block": 2}, "none of the model's 0 to 1"),
    ],
)
def test_points_and_blocks_that_do_not_exist(model, clip, settings, message):
    with pytest.raises(ValueError, match=message):
        record(with_egox(model, clip), clip, **settings)


@pytest.mark.parametrize(("step", "steps"), [(3, 3), (-1, 3)])
def test_steps_that_do_not_exist(step, steps):
    with pytest.raises(ValueError, match="the steps 0 to 2"):
        ProbeStep(step, steps)


def test_schedules_that_are_shorter_than_their_steps(model, clip):
    """`beta` leaves out levels that coincide."""
    with pytest.raises(ValueError, match="shorter than its steps"):
        record(with_egox(model, clip), clip, ProbeStep(1999, 2000, "beta"))


def test_context_windows_are_refused(model, clip):
    patched = with_egox(model, clip)
    patched.model_options["context_handler"] = object()
    with pytest.raises(ValueError, match="context windows"):
        record(patched, clip)


def test_without_egox(model, clip):
    with pytest.raises(ValueError, match="EgoX Apply"):
        record(model, clip)


def test_batches_are_refused(model, clip):
    with pytest.raises(ValueError, match="batch of 2"):
        record(with_egox(model, clip), clip, latent={"samples": torch.zeros_like(clip.prior).repeat(2, 1, 1, 1, 1)})


def test_latents_that_do_not_fit(model, clip):
    with pytest.raises(ValueError, match="has 3 frames and the sampled ego latent 4"):
        record(with_egox(model, clip), clip, latent={"samples": torch.zeros(1, 16, 4, 6, 6)})


def test_missing_directions_have_no_angle(model, clip):
    blind = replace(clip, ego_queries=torch.zeros_like(clip.ego_queries))
    found = record(with_gga(with_egox(model, clip), blind), clip)
    assert found.guided_angle is None
    torch.testing.assert_close(found.guided.exo, found.plain.exo)
