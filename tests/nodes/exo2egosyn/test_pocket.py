"""The pocket model under Exo2EgoSyn's components, over HTTP, against a loop written out in torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from demo.graph import POCKET_SYN_WORKFLOW, load_graph
from safetensors.torch import load_file

from exo2ego.networks.components.metadata import Component
from exo2ego.networks.pocket_files import pocket_file, without_clip
from support.egosyn_api import recorded_syn
from support.egosyn_witness import SynClip, SynWeights, sample
from support.graphs import node_id, only_outputs, with_inputs
from support.tiny_components import write_tiny_component

SIZE, FRAMES, STEPS, SEED = 64, 5, 2, 11
BLOCKS = 7  # of the pocket transformer, as wide as the tiny Wan
PARTS = (Component.ALIGN, Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)


@pytest.fixture(scope="module")
def components(comfy_server):
    """Made-up components of the pocket's size; returns name by component."""
    folder = comfy_server.base / "models" / "exo2egosyn"
    folder.mkdir(exist_ok=True)
    sizes = {Component.MULTIEXOCON: {"blocks": BLOCKS}, Component.LORA: {"blocks": BLOCKS}}
    return {
        part.value: write_tiny_component(folder, part, f"pocket_{part.value}.safetensors", **sizes.get(part, {})).name
        for part in PARTS
    }


@pytest.fixture(scope="module")
def graph(components):
    made = with_inputs(load_graph(POCKET_SYN_WORKFLOW), "Take", size=SIZE, frames=FRAMES)
    made = with_inputs(made, "Components", **components)
    made = with_inputs(made, "Ego camera's path", width=SIZE, height=SIZE)
    return with_inputs(made, "Sampler", steps=STEPS, seed=SEED)


@pytest.fixture(scope="module")
def weights(comfy_server, components):
    """Of the witness: the pocket transformer with the components."""
    folder = comfy_server.base / "models" / "exo2egosyn"
    parts = {name: load_file(folder / file) for name, file in components.items() if name != "align"}
    base = {name: value.float() for name, value in without_clip(load_file(pocket_file("diffusion_models"))).items()}
    return SynWeights(base, **parts)


def record_of(comfy_server, comfy_client, graph, file):
    """Run a graph; returns its samples, and the clip that they are of."""
    comfy_client.run(recorded_syn(graph, file))
    record = load_file(comfy_server.base / "output" / file)
    return record["samples"], SynClip(
        exo=record["exo"],
        condition=record["positive_condition"],
        mask=record["positive_mask"],
        plucker=record["plucker"],
        poses=record["poses"],
        positive=record["positive"],
        negative=record["negative"],
    )


def expected_of(weights, clip, noise, **settings):
    return sample(weights, clip, noise, steps=STEPS, shift=8.0, cfg=1.0, sampler="euler", **settings)


def noise_of(clip):
    return torch.randn(1, *clip.condition.shape[1:], generator=torch.manual_seed(SEED))


def test_equals_a_loop_written_out(comfy_server, comfy_client, graph, weights):
    samples, clip = record_of(comfy_server, comfy_client, graph, "pocket.safetensors")
    assert clip.exo.shape == (2, 16, 2, 8, 8)
    expected = expected_of(weights, clip, noise_of(clip))
    assert (samples - expected).abs().max() < 1e-3 * expected.abs().max()


def test_a_long_clip_in_windows(comfy_server, comfy_client, graph, weights):
    """Of 13 frames, which share nothing: each window is a clip of its own exo frames and poses."""
    long = with_inputs(graph, "Take", frames=13)
    sampler = node_id(long, "Sampler")
    inputs = {"model": long[sampler]["inputs"]["model"], "frames": 5, "overlap": 0}
    long = with_inputs(
        {**long, "long": {"class_type": "Exo2EgoLongClip", "inputs": inputs}}, "Sampler", model=["long", 0]
    )
    samples, clip = record_of(comfy_server, comfy_client, long, "pocket_long.safetensors")
    assert samples.shape[2] == 4
    for frames in ([0, 1], [2, 3]):
        parts = {name: getattr(clip, name)[:, :, frames] for name in ("exo", "condition", "mask")}
        noise = noise_of(clip)[:, :, frames]
        expected = expected_of(weights, replace(clip, **parts), noise, pose_frames=frames)
        assert (samples[:, :, frames] - expected).abs().max() < 1e-3 * expected.abs().max()


def test_it_scores_its_video(comfy_client, graph):
    done = comfy_client.run(only_outputs(graph, "Save ego video", "Score"))
    (saved,) = done.files(node_id(graph, "Save ego video"))
    assert saved["filename"].endswith(".mp4")
    (scores,) = done.outputs[node_id(graph, "Score")]["scores"]
    assert 0 < scores["psnr"] < 40


def test_without_components_it_is_a_plain_wan_22(comfy_client, graph):
    """EgoX's part says so, and names what to load."""
    other = with_inputs(graph, "Pocket model", method="EgoX")
    with pytest.raises(Exception, match=r"Wan 2\.1 I2V .* Exo2EgoSyn needs Wan 2\.2"):
        comfy_client.run(only_outputs(other, "Save ego video"))
