from __future__ import annotations

import math

import pytest

from exo2ego.wan.egox.apply import apply_egox
from exo2ego.wan.shared.memory import WideMemoryEstimate
from support.egox_graph import run_graph, with_egox, with_gga

# EgoX's size and the 14B model's factor (its width of 5120 over 2222).
EGO_SHAPE = [2, 16, 13, 56, 56]
EXO_WIDTH = 98
FACTOR_14B = 5120 / 2222


def bf16_estimate(input_shape, cond_shapes=None):
    """ComfyUI's formula with flash or memory-efficient attention, in MiB."""
    return input_shape[0] * math.prod(input_shape[2:]) * 2 * 0.01 * FACTOR_14B


def test_estimate_at_the_size_of_egox():
    wide = WideMemoryEstimate(EXO_WIDTH, bf16_estimate)
    assert bf16_estimate(EGO_SHAPE) == pytest.approx(3757, abs=1)
    assert wide.memory_required(EGO_SHAPE) == pytest.approx(10333, abs=1)


def test_keywords_of_other_versions_reach_only_functions_that_know_them():
    seen = []

    def newer(input_shape, cond_shapes=None, memory_efficient_attention=None):
        seen.append((input_shape, cond_shapes, memory_efficient_attention))
        return 0.0

    keywords = {"cond_shapes": {"a": 1}, "memory_efficient_attention": True}
    WideMemoryEstimate(2, newer).memory_required([1, 16, 1, 4, 4], **keywords)
    assert seen == [([1, 16, 1, 4, 6], {"a": 1}, True)]
    assert WideMemoryEstimate(EXO_WIDTH, bf16_estimate).memory_required(EGO_SHAPE, **keywords) > 10000


def test_loading_is_planned_for_both_views(model, clip):
    """Through ComfyUI's own wrapper chain and estimate."""
    from comfy import patcher_extension, sampler_helpers

    def estimate(patched, noise_shape, conds, model_options=None):
        return sampler_helpers.estimate_memory(patched, noise_shape, conds)

    def planned(patched):
        wrappers = [wrapper for found in patched.wrappers.get("prepare_sampling", {}).values() for wrapper in found]
        executor = patcher_extension.WrapperExecutor.new_executor(estimate, wrappers)
        return executor.execute(patched, clip.prior.shape, {}, model_options={})

    exo, ego = clip.exo.shape[-1], clip.prior.shape[-1]
    plain = planned(model)
    for patched in (with_egox(model, clip), with_egox(with_egox(model, clip), clip)):
        assert planned(patched) == pytest.approx([value * (exo + ego) / ego for value in plain])


def test_every_estimate_of_a_run_is_widened_once(model, clip):
    """In the second run the object patch of the first is still in force while loading is planned."""
    widths = []
    own = model.model.memory_required

    def recorder(input_shape, cond_shapes=None):
        widths.append(input_shape[-1])
        return own(input_shape, cond_shapes=cond_shapes or {})

    model.add_object_patch("memory_required", recorder)
    patched = with_gga(with_egox(model, clip), clip)
    run_graph(patched, clip)
    run_graph(with_egox(patched, clip), clip)
    assert len(widths) > 3
    assert set(widths) == {clip.exo.shape[-1] + clip.prior.shape[-1]}


def test_the_estimate_of_the_plain_model_comes_back(model, clip):
    shape = [1, 16, 3, 6, 6]
    before = model.model.memory_required(shape)
    run_graph(apply_egox(model, clip.exo), clip)
    assert model.model.memory_required(shape) > before
    run_graph(model, clip)
    assert model.model.memory_required(shape) == before
