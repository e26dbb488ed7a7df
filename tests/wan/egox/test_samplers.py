"""The samplers and schedules that the workflows name: real ComfyUI's against those written out, and the release's."""

from __future__ import annotations

import pytest
import torch

from support.egox_witness import simple_sigmas
from support.flow_samplers import SAMPLERS, levels, solve
from support.graphs import api_graph, node_id
from support.toy_flow import FLOWS

SHIFT = 3.0
# By the publishers of the distillation LoRA, for shift 5 and 4 steps.
DISTILLED_LEVELS = [1.0, 0.9375, 0.8333, 0.625, 0.0]


def settings(name: str) -> dict:
    """Shift and sampler of a shipped workflow."""
    graph = api_graph(name)
    return {"shift": graph[node_id(graph, "Shift")]["inputs"]["shift"]} | graph[node_id(graph, "Sampler")]["inputs"]


def comfyui_levels(model, sampler: str, scheduler: str, steps: int, shift: float) -> torch.Tensor:
    """The levels that stock KSampler samples on after stock ModelSamplingSD3."""
    import comfy.samplers
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    (shifted,) = ModelSamplingSD3().patch(model, shift)
    return comfy.samplers.KSampler(shifted, steps, torch.device("cpu"), sampler, scheduler).sigmas


def comfyui_solve(sampler: str, flow, noise: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Run ComfyUI's own sampler on a toy flow, as KSAMPLER does around it."""
    import comfy.samplers
    from comfy.model_sampling import CONST

    def model(x, sigma, **_):
        return x - sigma[0] * flow.velocity(x, sigma[0])

    sigmas = sigmas.clone()
    run = comfy.samplers.sampler_object(sampler).sampler_function
    x = run(model, noise.clone(), sigmas, extra_args={}, callback=None, disable=True)
    return CONST().inverse_noise_scaling(sigmas[-1], x)


def released_solve(flow, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """Run diffusers' scheduler with the settings that the release ships for its pipeline."""
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT, solver_order=2, solver_type="bh2"
    )
    scheduler.set_timesteps(steps)
    x = noise
    for sigma, timestep in zip(scheduler.sigmas, scheduler.timesteps):
        x = scheduler.step(flow.velocity(x, sigma), timestep, x, return_dict=False)[0]
    return x


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(4, 1024, generator=torch.manual_seed(0))


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 50])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("flow", FLOWS)
def test_comfyuis_samplers_equal_those_written_out(model, noise, flow, sampler, steps):
    sigmas = comfyui_levels(model, sampler, "simple", steps, SHIFT)
    written_out = levels(sampler, lambda count: simple_sigmas(count, SHIFT), steps)
    torch.testing.assert_close(sigmas, written_out, rtol=0, atol=1e-6)
    got = comfyui_solve(sampler, FLOWS[flow], noise, sigmas)
    expected = solve(sampler, FLOWS[flow].velocity, noise.double(), written_out)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("flow", "bound"), [("gaussians", 0.01), ("mixtures", 0.02)])
def test_the_workflows_sampler_is_nearer_to_the_releases_than_euler(model, noise, flow, bound):
    """ComfyUI's UniPC differs from diffusers' (order 3, another variable of integration), but not by much."""
    flow, chosen = FLOWS[flow], settings("egox_take")
    released = released_solve(flow, noise.double(), chosen["steps"])

    def distance(sampler: str) -> float:
        sigmas = comfyui_levels(model, sampler, chosen["scheduler"], chosen["steps"], chosen["shift"])
        return float((comfyui_solve(sampler, flow, noise, sigmas) - released).square().mean().sqrt() / released.std())

    assert distance(chosen["sampler_name"]) < bound
    assert distance(chosen["sampler_name"]) < distance("euler") / 2


def test_levels_of_the_fast_workflow_are_the_published_ones(model):
    chosen = settings("egox_fast")
    sigmas = comfyui_levels(model, *(chosen[name] for name in ("sampler_name", "scheduler", "steps", "shift")))
    torch.testing.assert_close(sigmas, torch.tensor(DISTILLED_LEVELS), rtol=0, atol=1e-4)
    assert chosen["cfg"] == 1
