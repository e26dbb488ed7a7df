"""EgoX LoRA Loader over HTTP: which way the LoRA goes, by the base, and that it is the whole of it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from support.comfyui import import_comfyui
from support.egox_witness import Clip, sample
from support.graphs import egox_graph, node_id, only_outputs, recorded, with_inputs
from support.lora_names import in_comfyui_names
from support.quantised_bases import stored
from support.tiny_models import FILES
from support.tiny_wan import DIM, FFN, LAYERS, egox_lora_state_dict, wan_state_dict
from support.wan_witnesses import diffusers_predict, diffusers_wan

import_comfyui()
STEPS, SHIFT, SEED = 2, 3.0, 11


def graph_of(base: str, **loader):
    """The graph without GGA on a base: a weight_dtype, or "gguf"."""
    graph = egox_graph(steps=STEPS, seed=SEED, cfg=1.0, sampler_name="euler")
    graph = with_inputs(graph, "Sampler", model=[node_id(graph, "EgoX Apply"), 0])
    graph = with_inputs(graph, "EgoX LoRA", **loader)
    if base != "gguf":
        return with_inputs(graph, "Base model", weight_dtype=base)
    key = node_id(graph, "Base model")
    inputs = {"unet_name": graph[key]["inputs"]["unet_name"]}
    return {**graph, key: {**graph[key], "class_type": "StandInUnetLoaderGGUF", "inputs": inputs}}


def run(comfy_server, comfy_client, graph, name):
    """Return the record of the sampler, and what the loader shows."""
    done = comfy_client.run(only_outputs(recorded(graph, name), "Record"))
    shown = done.outputs.get(node_id(graph, "EgoX LoRA"), {}).get("text")
    return load_file(comfy_server.base / "output" / name), shown


def expected_samples(record, kind, strength=1.0):
    """A loop written out, with diffusers' network of the weights that the base holds and the whole update."""
    weights = wan_state_dict() if kind == "fp32" else stored(kind)
    lora = egox_lora_state_dict()
    for key, down in lora.items():
        if "lora_A" in key:
            name = in_comfyui_names(key).removeprefix("diffusion_model.").replace("lora_A.", "")
            weights[name] = weights[name] + strength * lora[key.replace("lora_A", "lora_B")] @ down
    clip = Clip(
        exo=record["exo"],
        prior=record["positive_prior"],
        positive=record["positive"],
        negative=record["negative"],
        clip_features=record["positive_clip"],
        ego_queries=torch.zeros(0),
        exo_keys=torch.zeros(0),
    )
    noise = torch.randn(clip.prior.shape, generator=torch.manual_seed(SEED))
    predict = diffusers_predict(diffusers_wan(weights, dim=DIM, ffn=FFN, layers=LAYERS))
    return sample(predict, clip, noise, steps=STEPS, shift=SHIFT, cfg=1.0)


@pytest.mark.parametrize(
    ("base", "kind", "text"),
    [
        ("default", "fp32", "merged into the weights (a base model that is not quantised)"),
        ("fp8_e4m3fn", "fp8", "beside the weights (a base model in fp8_e4m3fn)"),
        ("gguf", "gguf", "beside the weights (a base model in GGUF Q8_0)"),
    ],
)
def test_a_graph_without_the_new_input_takes_the_way_that_suits_the_base(
    comfy_server, comfy_client, small_take, base, kind, text
):
    graph = graph_of(base)
    loader = graph[node_id(graph, "EgoX LoRA")]
    loader["inputs"] = {name: value for name, value in loader["inputs"].items() if name != "apply"}
    record, shown = run(comfy_server, comfy_client, graph, f"lora_{kind}.safetensors")
    name = FILES["lora"][1]
    assert shown == [f"{name}: rank 4, 16 layers in 2 blocks, no alpha stored (scale 1); {text}"]
    torch.testing.assert_close(record["samples"], expected_samples(record, kind), rtol=0, atol=1e-4)
    assert (record["samples"] - expected_samples(record, kind, 0.5)).abs().max() > 0.05


def test_the_way_that_is_asked_for(comfy_server, comfy_client, small_take):
    record, shown = run(comfy_server, comfy_client, graph_of("fp8_e4m3fn", apply="merge"), "merged.safetensors")
    assert shown[0].endswith("merged into the weights (a base model in fp8_e4m3fn)")
    off = (record["samples"] - expected_samples(record, "fp8")).abs().max()
    assert off > 1e-3, "merged weights are rounded"
    record, shown = run(
        comfy_server, comfy_client, graph_of("default", apply="beside the weights"), "beside.safetensors"
    )
    assert shown[0].endswith("beside the weights (a base model that is not quantised)")
    torch.testing.assert_close(record["samples"], expected_samples(record, "fp32"), rtol=0, atol=1e-4)


def test_another_word_is_refused(comfy_client, small_take):
    with pytest.raises(PromptRejectedError, match="one of 'auto', 'merge', 'beside the weights'; got 'beside'"):
        comfy_client.run(only_outputs(recorded(graph_of("default", apply="beside"), "x.safetensors"), "Record"))


def test_a_file_that_maps_in_part_is_refused_by_name(comfy_server, comfy_client, small_take):
    tensors = egox_lora_state_dict()
    odd = "transformer.blocks.0.attn3.to_q.lora_A.weight"
    path = comfy_server.base / "models" / "loras" / "part.safetensors"
    save_file({**tensors, odd: torch.zeros(4, DIM)}, path)
    graph = graph_of("fp8_e4m3fn", lora_name=path.name)
    with pytest.raises(ExecutionFailedError, match=rf"part\.safetensors: 1 of 33 keys .*{odd}"):
        comfy_client.run(only_outputs(recorded(graph, "x.safetensors"), "Record"))
    path.unlink()


@pytest.mark.parametrize("match", [None, "released inference", "released training"])
def test_a_graph_that_samples_otherwise_than_the_lora_was_trained_is_told(
    comfy_server, comfy_client, small_take, match
):
    """By EgoX Apply as it runs, by the loader when sampling starts. A file that says nothing is not compared."""
    strings = (
        None if match is None else {"format": "egox_lora", "format_version": "1", "match": match, "license": "CC0"}
    )
    path = comfy_server.base / "models" / "loras" / f"trained {match}.safetensors"
    save_file(egox_lora_state_dict(), path, strings)
    said_before = len(comfy_server.log.read_text())
    _, shown = run(comfy_server, comfy_client, graph_of("default", lora_name=path.name), "trained.safetensors")
    said = comfy_server.log.read_text()[said_before:]
    warned = [line for line in said.splitlines() if "was trained with" in line]
    assert ("license: CC0" in shown[0]) == (match is not None)
    if match == "released training":
        difference = f"{path.name} was trained with match released training (this run: released inference)"
        assert all(difference in line for line in warned)
        assert [line.split(":")[0].split()[-1] for line in warned] == ["Exo2EgoEgoXApply", "Exo2EgoEgoXLoader"]
    else:
        assert warned == []
    path.unlink()
