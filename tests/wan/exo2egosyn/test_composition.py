"""Exo2EgoSyn beside the other things that artists put on a MODEL."""

from __future__ import annotations

import logging

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from support.comfyui import k_sampler
from support.egosyn_graph import SEED, SHIFT, STEPS, run_syn, syn_conditioning, with_syn, witness
from support.egosyn_witness import made_up_syn_clip
from support.tiny_components import tiny_component
from support.tiny_wan import egox_lora_state_dict

FULL = (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)


def full(seed=10):
    return [tiny_component(component, seed=seed) for component in FULL]


@pytest.fixture
def expected(wan22, syn_clip):
    return run_syn(with_syn(wan22, syn_clip, *full()), syn_clip)


def test_applied_twice_is_applied_once(wan22, syn_clip, expected):
    twice = with_syn(with_syn(wan22, syn_clip, *full()), syn_clip, *full())
    assert torch.equal(run_syn(twice, syn_clip), expected)


def test_applied_again_replaces_everything(wan22, syn_clip, expected):
    other = made_up_syn_clip(seed=9, views=2)
    before = with_syn(wan22, other, *full(seed=77))
    assert torch.equal(run_syn(with_syn(before, syn_clip, *full()), syn_clip), expected)
    vawan = with_syn(wan22, syn_clip, tiny_component(Component.VAWAN))
    assert torch.equal(run_syn(with_syn(vawan, syn_clip, *full()), syn_clip), expected)
    none = with_syn(before, syn_clip)
    assert torch.equal(run_syn(none, syn_clip), run_syn(wan22, syn_clip))
    assert not none.patches


def test_the_models_before_stay_as_they_were(wan22, syn_clip):
    before = run_syn(wan22, syn_clip)
    stage1 = with_syn(wan22, syn_clip, *full()[:1])
    only_stage1 = run_syn(stage1, syn_clip)
    run_syn(with_syn(stage1, syn_clip, *full()), syn_clip)
    assert torch.equal(run_syn(stage1, syn_clip), only_stage1)
    assert torch.equal(run_syn(wan22, syn_clip), before)
    assert not wan22.wrappers
    assert not wan22.object_patches
    assert not wan22.patches
    assert not wan22.additional_models
    assert wan22.model_options == {"transformer_options": {}}


def test_nothing_that_comes_in_is_changed(wan22, syn_clip):
    parts = full()
    exo, maps = syn_clip.exo.clone(), syn_clip.plucker.clone()
    tensors = [{key: value.clone() for key, value in part.state_dict.items()} for part in parts]
    options_seen = []

    def watch(executor, *args, **kwargs):
        before = dict(args[5])
        out = executor(*args, **kwargs)
        options_seen.append((before, dict(args[5])))
        return out

    watched = wan22.clone()
    watched.add_wrapper_with_key("diffusion_model", "watch", watch)
    run_syn(with_syn(watched, syn_clip, *parts), syn_clip)
    assert torch.equal(syn_clip.exo, exo)
    assert torch.equal(syn_clip.plucker, maps)
    for part, saved in zip(parts, tensors):
        assert all(torch.equal(part.state_dict[key], value) for key, value in saved.items())
    assert options_seen
    for before, after in options_seen:
        assert before.keys() == after.keys()
        assert "patches_replace" not in after


def cross_attention_lora():
    """A LoRA of another pack on the very layers that MultiExoCon replaces."""
    tensors = egox_lora_state_dict(seed=8)
    names = {"attn1": "self_attn", "attn2": "cross_attn", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
    renamed = {}
    for key, value in tensors.items():
        for theirs, ours in names.items():
            key = key.replace(theirs, ours)
        renamed[key.replace("transformer.", "diffusion_model.")] = 0.3 * value
    return renamed


@pytest.mark.parametrize("lora_first", [True, False])
def test_loras_of_others_before_or_after(wan22, syn_clip, expected, lora_first):
    """A LoRA on cross-attention adds to MultiExoCon's weights, whichever comes first."""
    import comfy.sd

    other = cross_attention_lora()

    def with_lora(model):
        return comfy.sd.load_lora_for_models(model, None, other, 1.0, 0.0)[0]

    parts = full()
    if lora_first:
        patched = with_syn(with_lora(wan22), syn_clip, *parts)
    else:
        patched = with_lora(with_syn(wan22, syn_clip, *parts))
    got = run_syn(patched, syn_clip)
    merged = dict(parts[0].state_dict)
    for key, down in other.items():
        if "cross_attn" in key and key.endswith("lora_A.weight"):
            name = key.removeprefix("diffusion_model.").replace("lora_A.weight", "weight")
            merged[name] = merged[name] + other[key.replace("lora_A", "lora_B")] @ down
    self_attention = {key: value for key, value in other.items() if "self_attn" in key}
    by_hand = comfy.sd.load_lora_for_models(wan22, None, self_attention, 1.0, 0.0)[0]
    multiexocon = type(parts[0])("merged", parts[0].metadata, parts[0].config, merged)
    by_hand = run_syn(with_syn(by_hand, syn_clip, multiexocon, *parts[1:]), syn_clip)
    torch.testing.assert_close(got, by_hand, rtol=0, atol=1e-4)
    assert (got - expected).abs().max() > 0.05


def test_the_stock_lora_loader_reads_the_lora(wan22, syn_clip):
    import comfy.sd

    part = tiny_component(Component.LORA)
    stock = comfy.sd.load_lora_for_models(wan22, None, dict(part.state_dict), 1.0, 0.0)[0]
    torch.testing.assert_close(
        run_syn(stock, syn_clip), run_syn(with_syn(wan22, syn_clip, part), syn_clip), rtol=0, atol=1e-5
    )


def test_shift_before_instead_of_after(wan22, syn_clip, expected):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    (shifted,) = ModelSamplingSD3().patch(wan22, SHIFT)
    patched = with_syn(shifted, syn_clip, *full())
    positive, negative = (syn_conditioning(text, syn_clip) for text in (syn_clip.positive, syn_clip.negative))
    latent = torch.zeros(syn_clip.condition.shape)
    got = k_sampler(patched, positive, negative, latent, seed=SEED, cfg=3.5, steps=STEPS)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("cache_first", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 10.0])
def test_easy_cache(wan22, syn_clip, cache_first, threshold):
    from comfy_extras.nodes_easycache import EasyCacheNode

    def with_cache(model):
        return EasyCacheNode.execute(model, threshold, 0.0, 1.0, False).result[0]

    if cache_first:
        patched = with_syn(with_cache(wan22), syn_clip, *full())
    else:
        patched = with_cache(with_syn(wan22, syn_clip, *full()))
    got = run_syn(patched, syn_clip, steps=6)
    assert got.isfinite().all()
    uncached = run_syn(with_syn(wan22, syn_clip, *full()), syn_clip, steps=6)
    assert torch.equal(got, uncached) == (threshold == 0.0)


@pytest.mark.parametrize(
    ("keys", "compile_first"),
    [
        (["diffusion_model"], False),
        (["diffusion_model.blocks.0", "diffusion_model.blocks.1"], False),
        (["diffusion_model.blocks.0", "diffusion_model.blocks.1"], True),
    ],
)
def test_torch_compile(wan22, syn_clip, expected, keys, compile_first):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def compiled(model):
        clone = model.clone()
        set_torch_compile_wrapper(clone, backend="eager", keys=keys)
        return clone

    torch._dynamo.reset()
    if compile_first:
        patched = with_syn(compiled(wan22), syn_clip, *full())
    else:
        patched = compiled(with_syn(wan22, syn_clip, *full()))
    torch.testing.assert_close(run_syn(patched, syn_clip), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ours_first", [True, False])
def test_block_patches_of_others_see_the_exo_tokens(wan22, syn_clip, expected, ours_first):
    seen = []

    def block_patch(args, extra):
        seen.append((args["img"].shape[1], args["txt"].shape[1]))
        return extra["original_block"](args)

    def with_patch(model):
        patched = model.clone()
        for block in (0, 1):
            patched.set_model_patch_replace(block_patch, "dit", "double_block", block)
        return patched

    if ours_first:
        patched = with_patch(with_syn(wan22, syn_clip, *full()))
    else:
        patched = with_syn(with_patch(wan22), syn_clip, *full())
    assert torch.equal(run_syn(patched, syn_clip), expected)
    assert seen == [(18, 72)] * 2 * STEPS


def test_a_block_patch_that_changes_the_output_is_in_force(wan22, syn_clip, expected):
    patched = with_syn(wan22, syn_clip, *full())
    patched.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "double_block", 1)
    assert (run_syn(patched, syn_clip) - expected).abs().max() > 0.05


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_positive_and_negative_one_after_the_other(wan22, syn_clip, expected, order):
    """Where memory is short ComfyUI runs both branches of CFG in calls of their own."""
    patched = with_syn(wan22, syn_clip, *full())
    rows = []

    def one_by_one(executor, model, conds, x, timestep, options):
        parts = {
            index: executor(model, [None] * index + [conds[index]], x, timestep, options)[index] for index in order
        }
        return [parts[index] for index in range(len(conds))]

    def watch(executor, x, *args, **kwargs):
        rows.append((len(x), args[4]["cond_or_uncond"]))
        return executor(x, *args, **kwargs)

    patched.add_wrapper_with_key("calc_cond_batch", "one_by_one", one_by_one)
    patched.add_wrapper_with_key("diffusion_model", "watch", watch)
    torch.testing.assert_close(run_syn(patched, syn_clip), expected, rtol=0, atol=1e-4)
    assert rows == [(1, [index]) for index in order] * STEPS


def test_custom_sampling_with_a_guider(wan22, syn_clip):
    """SamplerCustomAdvanced with CFGGuider, as KSampler."""
    import comfy.samplers
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    (patched,) = ModelSamplingSD3().patch(with_syn(wan22, syn_clip, *full()), SHIFT)
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(syn_conditioning(syn_clip.positive, syn_clip), syn_conditioning(syn_clip.negative, syn_clip))
    guider.set_cfg(3.5)
    sigmas = comfy.samplers.calculate_sigmas(patched.get_model_object("model_sampling"), "simple", STEPS)
    noise = torch.randn(syn_clip.condition.shape, generator=torch.manual_seed(SEED))
    sampler = comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        got = guider.sample(noise, torch.zeros_like(noise), sampler, sigmas)
    torch.testing.assert_close(got, witness(syn_clip, *full()), rtol=0, atol=1e-4)


def test_the_adapters_are_a_model_that_comfyui_loads(wan22, syn_clip):
    import comfy.model_management

    patched = with_syn(wan22, syn_clip, *full())
    (adapters,) = patched.get_nested_additional_models()
    poseinj = sum(tensor.nbytes for tensor in tiny_component(Component.POSEINJ).state_dict.values())
    assert adapters.model_size() > poseinj
    run_syn(patched, syn_clip)
    assert any(loaded.real_model() is adapters.model for loaded in comfy.model_management.current_loaded_models)
    assert adapters.model.device == patched.load_device
    assert not with_syn(patched, syn_clip).get_nested_additional_models()


def test_a_pack_that_runs_the_blocks_itself_is_an_error(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, *full())
    patched.add_object_patch("diffusion_model.forward_orig", lambda x, t, context, **kwargs: x[:, :16])
    with pytest.raises(ValueError, match="no effect: another node runs Wan's blocks on its own"):
        run_syn(patched, syn_clip)


def test_a_pack_that_skips_blocks_is_a_warning(wan22, syn_clip, caplog):
    original = wan22.model.diffusion_model.forward_orig

    def fewer(x, t, context, **kwargs):
        replacements = kwargs["transformer_options"]["patches_replace"]["dit"]
        kept = {key: value for key, value in replacements.items() if key != ("double_block", 1)}
        options = {**kwargs["transformer_options"], "patches_replace": {"dit": kept}}
        return original(x, t, context, **{**kwargs, "transformer_options": options})

    patched = with_syn(wan22, syn_clip, *full())
    patched.add_object_patch("diffusion_model.forward_orig", fewer)
    with caplog.at_level(logging.WARNING):
        run_syn(patched, syn_clip, cfg=1.0)
    warnings = [record.getMessage() for record in caplog.records if "Exo2EgoSyn" in record.getMessage()]
    assert len(warnings) == 1
    assert "only 1 of 2 blocks" in warnings[0]


def test_no_warning_when_all_is_well(wan22, syn_clip, caplog):
    with caplog.at_level(logging.WARNING):
        run_syn(with_syn(wan22, syn_clip, *full()), syn_clip)
    assert not [record for record in caplog.records if "Exo2EgoSyn" in record.getMessage()]
