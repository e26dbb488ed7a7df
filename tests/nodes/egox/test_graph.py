"""The EgoX graph over HTTP, from a take on disk to the sampled latent, against a loop written out in the test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exo2ego.geometry.directions.directions import gga_directions
from exo2ego.takes.egox.read import read_take
from support.comfyui import import_comfyui
from support.egox_witness import Clip, dense_pair_bias, sample, simple_sigmas
from support.graphs import egox_graph, node_id, only_outputs, recorded, with_inputs, with_node
from support.tiny_distilled_lora import distilled_lora_state_dict, with_distilled_lora
from support.tiny_models import FILES
from support.tiny_wan import wan_state_dict
from support.wan_witnesses import comfyui_predict

STEPS, SHIFT, SEED = 3, 3.0, 11
RELEASED_SAMPLER, ORDER_3_STEPS = "uni_pc_bh2", 5
TOKENS = {"latent_frames": 2, "exo_tokens": (4, 8), "ego_tokens": (4, 4)}
PEFT_TO_WAN = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}


def egox_weights(models: Path) -> dict[str, torch.Tensor]:
    """The tiny Wan's weights with EgoX's LoRA merged by hand."""
    weights = load_file(models.joinpath(*FILES["unet"]))
    lora = load_file(models.joinpath(*FILES["lora"]))
    for name, down in lora.items():
        if not name.endswith("lora_A.weight"):
            continue
        _, block, attention, *layer = name.removesuffix(".lora_A.weight").removeprefix("transformer.").split(".")
        target = {"attn1": "self_attn", "attn2": "cross_attn"}[attention]
        key = f"blocks.{block}.{target}.{PEFT_TO_WAN['.'.join(layer)]}.weight"
        weights[key] = weights[key] + lora[name.replace("lora_A", "lora_B")] @ down
    return weights


def raw_wan(weights: dict[str, torch.Tensor]):
    import_comfyui()
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(weights).model.diffusion_model


@pytest.fixture(scope="module")
def network(comfy_server):
    """The raw tiny Wan with the LoRA merged into its weights by hand."""
    return raw_wan(egox_weights(comfy_server.base / "models"))


def clip_of(record: dict[str, torch.Tensor], take: Path) -> Clip:
    loaded = read_take(take)
    directions = gga_directions(loaded.exo_camera, loaded.depth, loaded.ego_camera, **TOKENS)
    assert torch.equal(record["positive_prior"], record["negative_prior"])
    assert (record["positive_mask"] == 1).all()
    return Clip(
        exo=record["exo"],
        prior=record["positive_prior"],
        positive=record["positive"],
        negative=record["negative"],
        clip_features=record["positive_clip"],
        ego_queries=directions.ego_queries,
        exo_keys=directions.exo_keys,
    )


def run(comfy_server, comfy_client, graph, name) -> dict[str, torch.Tensor]:
    comfy_client.run(only_outputs(recorded(graph, name), "Record"))
    return load_file(comfy_server.base / "output" / name)


CASES = [("euler", STEPS, form, cfg) for form in (None, "paper", "release") for cfg in (1.0, 5.0)]
CASES += [(RELEASED_SAMPLER, steps, "release", 5.0) for steps in (STEPS, ORDER_3_STEPS)]
CASES += [(RELEASED_SAMPLER, ORDER_3_STEPS, None, 1.0)]


@pytest.mark.parametrize(("sampler", "steps", "form", "cfg"), CASES)
def test_equals_a_loop_written_out(comfy_server, comfy_client, small_take, network, sampler, steps, form, cfg):
    graph = egox_graph(steps=steps, seed=SEED, cfg=cfg, sampler_name=sampler)
    if form is None:
        graph = with_inputs(graph, "Sampler", model=[node_id(graph, "EgoX Apply"), 0])
    else:
        graph = with_inputs(graph, "Geometry-guided attention", form=form)
    record = run(comfy_server, comfy_client, graph, f"{sampler}_{steps}_{form}_{cfg}.safetensors")
    clip = clip_of(record, small_take)
    noise = torch.randn(clip.prior.shape, generator=torch.manual_seed(SEED))
    settings = {"steps": steps, "shift": SHIFT, "cfg": cfg, "sampler": sampler}
    bias = None if form is None else dense_pair_bias(clip, form, 3.0)
    with torch.inference_mode():
        expected = sample(comfyui_predict(network), clip, noise, **settings, bias=bias)
    assert record["samples"].shape == (1, 16, 2, 8, 8)
    assert (record["samples"] - expected).abs().max() < 1e-4
    if sampler == RELEASED_SAMPLER and steps == ORDER_3_STEPS:
        with torch.inference_mode():
            euler = sample(comfyui_predict(network), clip, noise, **{**settings, "sampler": "euler"}, bias=bias)
        assert (euler - expected).abs().max() > 1e-2, "the comparison would not notice the sampler"
    if form is not None:
        with torch.inference_mode():
            plain = sample(comfyui_predict(network), clip, noise, **settings)
        assert (plain - expected).abs().max() > 1e-2, "the comparison would not notice GGA"


def test_the_fast_graph_equals_a_loop_written_out(comfy_server, comfy_client, small_take):
    """Both LoRAs, and sampler, shift, steps and CFG as the template has them."""
    models, name = comfy_server.base / "models", "tiny_distilled_lora.safetensors"
    distilled = distilled_lora_state_dict()
    save_file(distilled, models / "loras" / name)
    graph = with_inputs(egox_graph(workflow="egox_fast", steps=None, seed=SEED), "Distillation LoRA", lora_name=name)
    record = run(comfy_server, comfy_client, graph, "fast.safetensors")
    clip = clip_of(record, small_take)
    noise = torch.randn(clip.prior.shape, generator=torch.manual_seed(SEED))
    bias = dense_pair_bias(clip, "release", 3.0)

    def expected(weights) -> torch.Tensor:
        with torch.inference_mode():
            return sample(comfyui_predict(raw_wan(weights)), clip, noise, steps=4, shift=5.0, cfg=1.0, bias=bias)

    with_egox_alone = egox_weights(models)
    both = expected(with_distilled_lora(with_egox_alone, distilled))
    assert (record["samples"] - both).abs().max() < 1e-4
    assert (expected(with_egox_alone) - both).abs().max() > 1e-2, "the comparison would not notice the second LoRA"


def test_an_unchanged_graph_samples_once(comfy_client, small_take):
    graph = egox_graph(seed=SEED + 1)
    assert {"Sampler", "Decode", "Save ego video"} <= set(comfy_client.run(graph).seconds)
    again = comfy_client.run(graph)
    assert not again.seconds, "nothing changed, and something ran"
    other = comfy_client.run(with_inputs(graph, "Sampler", seed=SEED + 2))
    assert "Sampler" in other.seconds
    assert "Ego prior" not in other.seconds


def test_the_whole_graph_saves_videos_and_sheet(comfy_client, small_take):
    graph = egox_graph()
    run = comfy_client.run(graph)
    (saved,) = run.files(node_id(graph, "Save ego video"))
    assert saved["filename"].endswith(".mp4")
    assert len(comfy_client.fetch(saved)) > 1000


def test_applied_twice_is_applied_once(comfy_server, comfy_client, small_take):
    graph = egox_graph(steps=STEPS, seed=SEED)
    once = run(comfy_server, comfy_client, graph, "once.safetensors")
    gga, apply = node_id(graph, "Geometry-guided attention"), node_id(graph, "EgoX Apply")
    again = with_node(graph, "901", "Exo2EgoEgoXApply", "Again", **{**graph[apply]["inputs"], "model": [gga, 0]})
    again = with_node(again, "902", "Exo2EgoGGA", "GGA again", **{**graph[gga]["inputs"], "model": ["901", 0]})
    again = with_inputs(again, "Sampler", model=["902", 0])
    twice = run(comfy_server, comfy_client, again, "twice.safetensors")
    assert torch.equal(once["samples"], twice["samples"])


@pytest.mark.parametrize(("steps", "shift"), [(STEPS, SHIFT), (4, 5.0), (20, 3.0), (25, 3.0), (50, 3.0), (50, 8.0)])
def test_the_schedule_is_the_one_the_witness_assumes(steps, shift):
    """Stock ModelSamplingSD3 on a Wan model, and ComfyUI's scheduler."""
    import_comfyui()
    import comfy.samplers
    import comfy.sd
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model = comfy.sd.load_diffusion_model_state_dict(wan_state_dict())
    sampling = ModelSamplingSD3().patch(model, shift)[0].get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", steps)
    torch.testing.assert_close(simple_sigmas(steps, shift), sigmas, rtol=0, atol=1e-6)
    assert len(sigmas) == steps + 1
