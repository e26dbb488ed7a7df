"""Exo reuse beside samplers, windows, overrides, block hooks, LoRAs and compilers."""

from __future__ import annotations

import logging

import pytest
import torch

from exo2ego.common.windows import Windows
from exo2ego.wan.egox.apply import ExoSettings, apply_egox
from exo2ego.wan.egox.attention_probe import ProbeStep, record_attention
from exo2ego.wan.egox.lora import apply_lora, read_lora
from exo2ego.wan.shared.long_clips import sample_in_windows
from support.blended_windows import blending
from support.egox_graph import SHIFT, noise_of, run_graph, with_egox, with_gga, with_override
from support.egox_witness import made_up_clip, sample
from support.reuse_graph import EGO_TOKENS, EXO_COLUMNS, TOKENS, steps_of, watched, with_reuse
from support.reuse_witness import frozen_exo_predict
from support.wan_witnesses import egox_conditioning
from support.windows import windows_handler


def sampled(model, clip, sampler, sigmas):
    """Sample with a function and levels of one's own."""
    import comfy.sample
    import comfy.samplers

    positive = egox_conditioning(clip.positive, clip.prior, clip.clip_features)
    nothing = torch.zeros_like(clip.prior)
    with torch.inference_mode():
        return comfy.sample.sample_custom(
            *(model, noise_of(clip), 1.0, comfy.samplers.KSAMPLER(sampler), torch.tensor(sigmas), positive, positive),
            nothing,
            disable_pbar=True,
            seed=0,
        )


def test_order_is_free(model, clip):
    expected = run_graph(with_reuse(with_gga(with_egox(model, clip), clip)), clip, steps=4)
    for patched in (
        with_gga(with_egox(with_reuse(model), clip), clip),
        with_egox(with_reuse(with_gga(model, clip)), clip),
        with_reuse(with_reuse(with_gga(with_egox(model, clip), clip), 3)),  # applied again, it replaces itself
    ):
        assert torch.equal(run_graph(patched, clip, steps=4), expected)


@pytest.mark.parametrize(("sampler", "calls"), [("heun", "FeeFeee"), ("dpmpp_2m", "FeFe"), ("uni_pc", "FeFe")])
def test_samplers(model, clip, sampler, calls):
    """Heun asks at both ends of a step, and at each of these levels again in the next one: that counts once."""
    patched, seen = watched(with_egox(model, clip))
    run_graph(with_reuse(patched), clip, steps=4, cfg=1.0, sampler_name=sampler)
    assert steps_of(seen) == calls


def test_a_sampler_that_restarts(model, clip):
    """Back at more noise than what is kept was made of, a step runs in full."""

    def restarting(network, x, sigmas, extra_args, **_):
        for level in (0, 1, 2, 3, 1, 2, 0):
            x = network(x, sigmas[level].expand(len(x)), **extra_args)
        return x

    patched, seen = watched(with_egox(model, clip))
    sampled(with_reuse(patched), clip, restarting, [1.0, 0.8, 0.5, 0.2, 0.0])
    assert steps_of(seen) == "FeFeFeF"


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("windows_first", [False, True])
def test_windows_keep_their_own(model, guided, windows_first):
    clip = made_up_clip(seed=4, frames=5)
    patched = with_gga(with_egox(model, clip), clip) if guided else with_egox(model, clip)
    windows = Windows(3, 1)
    if windows_first:
        patched = with_reuse(sample_in_windows(patched, windows))
    else:
        patched = sample_in_windows(with_reuse(patched), windows)
    got = run_graph(patched, clip, steps=4)
    predict = frozen_exo_predict(model.model.diffusion_model, lambda call: call % 2 == 0, EXO_COLUMNS, windows=2)
    blended = blending(predict, clip, guided=guided)
    expected = sample(blended, clip, noise_of(clip), steps=4, shift=SHIFT, cfg=5.0)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_overrides_of_others_get_the_ego_queries(model, clip):
    """Sage and flash: with GGA they get exo queries and cross-attention, without it self-attention, too."""
    seen = []

    def override(function, q, k, v, heads, *args, **kwargs):
        seen.append((q.shape[1], k.shape[1]))
        return function(q, k, v, heads, *args, **kwargs)

    plain = with_reuse(with_egox(model, clip))
    expected = run_graph(plain, clip, steps=2, cfg=1.0)
    for patched in (with_reuse(with_egox(with_override(model, override), clip)), with_override(plain, override)):
        seen.clear()
        assert torch.equal(run_graph(patched, clip, steps=2, cfg=1.0), expected)
        assert seen.count((TOKENS, TOKENS)) == seen.count((EGO_TOKENS, TOKENS)) == 2
        assert seen.count((TOKENS, 512)) == seen.count((EGO_TOKENS, 512)) == 2
    seen.clear()
    run_graph(with_gga(with_override(plain, override), clip), clip, steps=2, cfg=1.0)
    assert (EGO_TOKENS, TOKENS) not in seen
    assert seen.count((EGO_TOKENS, 512)) == 2


def test_an_override_that_changes_attention_is_in_force(model, clip):
    def zero(function, q, k, v, heads, *args, **kwargs):
        return torch.zeros_like(q) if q.shape[1] == EGO_TOKENS else function(q, k, v, heads, *args, **kwargs)

    got = run_graph(with_override(with_reuse(with_egox(model, clip)), zero), clip, steps=2)
    assert (got - run_graph(with_reuse(with_egox(model, clip)), clip, steps=2)).abs().max() > 0.05


def test_a_lora_beside_it(model, tiny_files, clip):
    lora = read_lora(tiny_files["lora"])
    first = run_graph(with_reuse(with_egox(apply_lora(model, lora), clip)), clip, steps=4)
    after = run_graph(apply_lora(with_reuse(with_egox(model, clip)), lora), clip, steps=4)
    torch.testing.assert_close(first, after, rtol=0, atol=1e-5)
    assert (first - run_graph(with_reuse(with_egox(model, clip)), clip, steps=4)).abs().max() > 0.05


def test_torch_compile(model, clip):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    torch._dynamo.reset()
    patched = with_reuse(with_gga(with_egox(model, clip), clip))
    expected = run_graph(patched, clip, steps=4)
    compiled = patched.clone()
    set_torch_compile_wrapper(compiled, backend="eager", keys=["diffusion_model.blocks.0", "diffusion_model.blocks.1"])
    torch.testing.assert_close(run_graph(compiled, clip, steps=4), expected, rtol=0, atol=1e-5)


def test_the_attention_map_is_of_a_full_step(model, clip):
    def recorded(patched):
        positive = egox_conditioning(clip.positive, clip.prior, clip.clip_features)
        latent = {"samples": torch.zeros_like(clip.prior)}
        with torch.inference_mode():
            return record_attention(patched, positive, latent, ProbeStep(0, 4), frame=0)

    plain = with_gga(with_egox(model, clip), clip)
    assert torch.equal(recorded(plain).guided.exo, recorded(with_reuse(plain)).guided.exo)


def test_a_block_that_is_skipped_runs_in_full(model, clip, caplog):
    """A patch that leaves a block out leaves nothing to keep: every step runs in full, and the log says so."""
    skipping = with_egox(model, clip)
    skipping.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "double_block", 1)
    expected = run_graph(skipping, clip, steps=2)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(run_graph(with_reuse(skipping), clip, steps=2), expected)
    assert [record for record in caplog.records if "Exo Reuse had no effect" in record.getMessage()]


def test_what_bypasses_it_in_some_steps_is_refused(model, clip):
    """Silently, ego tokens would attend to one another alone."""
    own = model.model.diffusion_model.blocks[1].self_attn
    original = own.forward

    def replaced(x, freqs, transformer_options=None):
        return own.o(own.v(x)) if x.shape[1] == EGO_TOKENS else original(x, freqs, transformer_options)

    patched = with_reuse(with_egox(model, clip))
    patched.add_object_patch("diffusion_model.blocks.1.self_attn.forward", replaced)
    with pytest.raises(ValueError, match=r"did not reach the self-attention of block 1.*set every to 1"):
        run_graph(patched, clip, steps=2)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_refusals(model, clip):
    with pytest.raises(ValueError, match="put EgoX Apply before or after Exo Reuse"):
        run_graph(with_reuse(model), clip)
    with pytest.raises(ValueError, match="choose the clean latent"):
        run_graph(with_reuse(apply_egox(model, clip.exo, ExoSettings(noisy=True))), clip)
    in_windows = with_reuse(with_egox(model, clip))
    in_windows.model_options["context_handler"] = windows_handler(2)
    with pytest.raises(ValueError, match="use Long Clip instead"):
        run_graph(in_windows, clip)
    with pytest.raises(ValueError, match="from 1"):
        with_reuse(model, 0)
