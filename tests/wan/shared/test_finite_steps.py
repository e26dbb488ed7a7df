"""A prediction that turns NaN or infinite ends the run at its step, with what is likely to blame."""

from __future__ import annotations

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from exo2ego.wan.shared.finite_steps import FiniteSteps
from support.egosyn_graph import run_syn, with_syn
from support.egox_graph import run_graph, with_egox
from support.tiny_components import tiny_component

NAN, INFINITY = float("nan"), float("inf")


def breaking(model, from_call, value, calls=None):
    """The model, one number of whose output is broken from a call on; with CFG 1 a call is a step."""
    calls = [] if calls is None else calls

    def broken(executor, *args, **kwargs):
        out = executor(*args, **kwargs)
        calls.append(1)
        if len(calls) >= from_call:
            out = out.clone()
            out[0, 0, 0, 0, 0] = value
        return out

    patched = model.clone()
    patched.add_wrapper_with_key("diffusion_model", "broken", broken)
    return patched


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("sampler", ["euler", "uni_pc_bh2", "dpmpp_2m"])
def test_egox_ends_at_the_step(model, clip, value, sampler):
    calls = []
    broken = breaking(with_egox(model, clip), 2, value, calls)
    with pytest.raises(
        ValueError, match=r"EgoX: .* not finite .* from step [12] of 4 on\. .*fp16.*SageAttention.*LoRA"
    ):
        run_graph(broken, clip, cfg=1.0, steps=4, sampler_name=sampler)
    assert len(calls) <= 3  # the others were not paid for


def test_exo2egosyn_ends_at_the_step(wan22, syn_clip):
    broken = breaking(with_syn(wan22, syn_clip, tiny_component(Component.LORA)), 3, NAN)
    with pytest.raises(ValueError, match=r"Exo2EgoSyn: .* from step 3 of 4 on"):
        run_syn(broken, syn_clip, cfg=1.0, steps=4, sampler_name="euler")


def test_a_run_that_holds_is_the_same_and_its_callback_is_called(model, clip):
    seen = []
    finite = FiniteSteps("EgoX", lambda *arguments: seen.append(arguments[0]))
    for step in range(3):
        finite(step, torch.full((1, 16, 3), 1e30), torch.zeros(1), 3)
    samples = torch.ones(2, 3)
    assert finite.check(samples) is samples
    assert seen == [0, 1, 2]


def test_samplers_that_call_nobody():
    with pytest.raises(ValueError, match="the sampled latent is not finite"):
        FiniteSteps("EgoX", None).check(torch.tensor([1.0, NAN]))
    FiniteSteps("EgoX", None)(0, torch.ones(2), torch.ones(2), 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, where the number is read one step later")
def test_on_a_gpu_the_step_before_is_read():
    finite = FiniteSteps("EgoX", None)
    finite(0, torch.tensor([NAN], device="cuda"), torch.zeros(1), 3)
    with pytest.raises(ValueError, match="from step 1 of 3 on"):
        finite(1, torch.ones(1, device="cuda"), torch.zeros(1), 3)
