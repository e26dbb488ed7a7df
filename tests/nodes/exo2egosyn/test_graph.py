"""The Exo2EgoSyn graphs over HTTP, from the example room to the sampled latent, against a loop written out in torch."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from support.egosyn_api import BASE, FRAMES, NONE, SIZE, egosyn_graph, recorded_syn, vawan_file
from support.egosyn_witness import SynClip, SynWeights, sample
from support.graphs import api_graph, node_id, with_inputs
from support.tiny_components import VAWAN_POSES

STEPS, SHIFT, SEED = 2, 5.0, 11

SYSTEMS = {
    "full": ("exo2egosyn", {}),
    "without poses": ("exo2egosyn", {"poseinj": "none"}),
    "vawan": ("vawan", {}),
    **{f"vawan with {poses}": ("vawan", {"vawan": vawan_file(poses)}) for poses in VAWAN_POSES},
}


def run(comfy_server, comfy_client, graph, name) -> dict[str, torch.Tensor]:
    comfy_client.run(recorded_syn(graph, name))
    return load_file(comfy_server.base / "output" / name)


def witness(comfy_server, graph, record, cfg, batch, steps=STEPS, sampler="euler") -> torch.Tensor:
    models = comfy_server.base / "models"
    chosen = graph[node_id(graph, "Components")]["inputs"]
    files = {key: name for key, name in chosen.items() if name != "none" and key != "align"}
    parts = {key: load_file(models / "exo2egosyn" / name) for key, name in files.items()}
    weights = SynWeights(load_file(models / "diffusion_models" / BASE), **parts)
    for key in ("condition", "mask"):
        assert torch.equal(record[f"positive_{key}"], record[f"negative_{key}"])
    clip = SynClip(
        exo=record["exo"],
        condition=record["positive_condition"],
        mask=record["positive_mask"],
        plucker=record["plucker"],
        poses=record["poses"],
        positive=record["positive"],
        negative=record["negative"],
    )
    noise = torch.randn(batch, *clip.condition.shape[1:], generator=torch.manual_seed(SEED))
    return sample(weights, clip, noise, steps=steps, shift=SHIFT, cfg=cfg, sampler=sampler)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("cfg", [1.0, 3.5])
@pytest.mark.parametrize("system", SYSTEMS)
def test_equals_a_loop_written_out(comfy_server, comfy_client, system, cfg, batch):
    name, parts = SYSTEMS[system]
    graph = egosyn_graph(name, parts=parts, steps=STEPS, seed=SEED, cfg=cfg)
    graph = with_inputs(graph, "Conditioning", batch_size=batch)
    record = run(comfy_server, comfy_client, graph, "record.safetensors")
    assert record["exo"].shape == (4, 16, 2, 4, 4)
    assert record["samples"].shape == (batch, 16, 2, 4, 4)
    assert (record["samples"] - witness(comfy_server, graph, record, cfg, batch)).abs().max() < 1e-4


@pytest.mark.parametrize("steps", [3, 5])  # the highest order of ComfyUI's UniPC is 2, and 3
@pytest.mark.parametrize("name", ["exo2egosyn", "vawan"])
def test_equals_a_loop_written_out_with_the_workflows_sampler(comfy_server, comfy_client, name, steps):
    sampler = api_graph(name)[node_id(api_graph(name), "Sampler")]["inputs"]["sampler_name"]
    graph = egosyn_graph(name, steps=steps, seed=SEED, cfg=3.5, sampler_name=sampler)
    record = run(comfy_server, comfy_client, graph, "record.safetensors")
    expected = witness(comfy_server, graph, record, 3.5, 1, steps, sampler)
    assert sampler == "uni_pc"
    # ComfyUI computes UniPC's coefficients of order 3 in single precision, where short steps lose digits.
    bound = 1e-4 if steps == 3 else 1e-4 * expected.abs().max()
    assert (record["samples"] - expected).abs().max() < bound
    for other in ("euler", "uni_pc_bh2"):
        assert (witness(comfy_server, graph, record, 3.5, 1, steps, other) - expected).abs().max() > 10 * bound, other


@pytest.mark.parametrize("name", ["exo2egosyn", "vawan"])
def test_the_whole_graph_saves_a_video(comfy_client, name):
    graph = egosyn_graph(name)
    done = comfy_client.run(graph)
    (saved,) = done.files(node_id(graph, "Save ego video"))
    assert saved["filename"].endswith(".mp4")
    assert len(comfy_client.fetch(saved)) > 500


@pytest.mark.parametrize("cfg", [1.0, 3.5])
def test_without_any_part_the_graph_is_wan_alone(comfy_server, comfy_client, cfg):
    """Bit by bit: against core's WanImageToVideo with the same first frame, and the model without Exo2EgoSyn Apply."""
    graph = egosyn_graph(parts=NONE, seed=SEED, cfg=cfg)
    frame = [node_id(graph, "Take"), 9]
    graph = with_inputs(graph, "First ego frame", first_frame=frame)
    ours = run(comfy_server, comfy_client, graph, "ours.safetensors")
    conditioning = graph[node_id(graph, "Conditioning")]["inputs"]
    start = {"class_type": "ImageFromBatch", "inputs": {"image": frame, "batch_index": 0, "length": 1}}
    core = {
        "class_type": "WanImageToVideo",
        "inputs": {
            **{name: conditioning[name] for name in ("positive", "negative", "vae", "batch_size")},
            **{"width": SIZE, "height": SIZE, "length": FRAMES, "start_image": ["800", 0]},
        },
        "_meta": {"title": "Conditioning"},
    }
    stock = with_inputs(graph, "Shift", model=[node_id(graph, "Base model"), 0])
    stock = {**stock, node_id(graph, "Conditioning"): core, "800": {**start, "_meta": {"title": "Start image"}}}
    theirs = run(comfy_server, comfy_client, stock, "theirs.safetensors")
    for name in ("positive", "negative"):
        for part in ("", "_condition", "_mask"):
            assert torch.equal(ours[name + part], theirs[name + part])
    assert ours["positive_condition"].shape == (1, 16, 2, 4, 4)
    assert torch.equal(ours["samples"], theirs["samples"])
