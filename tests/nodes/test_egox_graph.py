"""The EgoX graph over HTTP, from a take on disk to the sampled latent, against a loop written out in the test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from exo2ego.geometry.directions import gga_directions
from exo2ego.takes.egox import read_take
from support.comfyui import import_comfyui
from support.egox_witness import Clip, dense_pair_bias, sample, simple_sigmas
from support.graphs import egox_graph, node_id, only_outputs, recorded, with_inputs, with_node
from support.tiny_models import FILES
from support.tiny_wan import wan_state_dict
from support.wan_witnesses import comfyui_predict

STEPS, SHIFT, SEED = 3, 3.0, 11
TOKENS = {"latent_frames": 2, "exo_tokens": (4, 8), "ego_tokens": (4, 4)}
PEFT_TO_WAN = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}


@pytest.fixture(scope="module")
def network(comfy_server):
    """The raw tiny Wan with the LoRA merged into its weights by hand."""
    import_comfyui()
    import comfy.sd

    models = comfy_server.base / "models"
    weights = load_file(models.joinpath(*FILES["unet"]))
    lora = load_file(models.joinpath(*FILES["lora"]))
    for name, down in lora.items():
        if not name.endswith("lora_A.weight"):
            continue
        _, block, attention, *layer = name.removesuffix(".lora_A.weight").removeprefix("transformer.").split(".")
        target = {"attn1": "self_attn", "attn2": "cross_attn"}[attention]
        key = f"blocks.{block}.{target}.{PEFT_TO_WAN['.'.join(layer)]}.weight"
        weights[key] = weights[key] + lora[name.replace("lora_A", "lora_B")] @ down
    return comfy.sd.load_diffusion_model_state_dict(weights).model.diffusion_model


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


@pytest.mark.parametrize("cfg", [1.0, 5.0])
@pytest.mark.parametrize("form", [None, "paper", "release"])
def test_equals_a_loop_written_out(comfy_server, comfy_client, small_take, network, form, cfg):
    graph = egox_graph(steps=STEPS, seed=SEED, cfg=cfg)
    if form is None:
        graph = with_inputs(graph, "Sampler", model=[node_id(graph, "EgoX Apply"), 0])
    else:
        graph = with_inputs(graph, "Geometry-guided attention", form=form)
    record = run(comfy_server, comfy_client, graph, f"{form}_{cfg}.safetensors")
    clip = clip_of(record, small_take)
    bias = None if form is None else dense_pair_bias(clip, form, 3.0)
    noise = torch.randn(clip.prior.shape, generator=torch.manual_seed(SEED))
    with torch.inference_mode():
        expected = sample(comfyui_predict(network), clip, noise, steps=STEPS, shift=SHIFT, cfg=cfg, bias=bias)
    assert record["samples"].shape == (1, 16, 2, 8, 8)
    assert (record["samples"] - expected).abs().max() < 1e-4
    if form is not None:
        with torch.inference_mode():
            plain = sample(comfyui_predict(network), clip, noise, steps=STEPS, shift=SHIFT, cfg=cfg)
        assert (plain - expected).abs().max() > 1e-2, "the comparison would not notice GGA"


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
