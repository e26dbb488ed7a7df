"""Released training and the ablations over HTTP, from the shipped graph to the sampled latent, against the loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from exo2ego.geometry.directions.directions import GGAGeometry, gga_directions
from exo2ego.takes.egox.read import read_take
from support.egox_witness import dense_pair_bias, sample
from support.graphs import Graph, egox_graph, node_id, with_inputs, with_node
from support.standin_nodes.configs import CLIP_VISION_CONFIG
from support.tiny_models import FILES
from support.wan_witnesses import comfyui_predict

from .test_graph import SEED, SHIFT, STEPS, TOKENS, clip_of, network, run  # noqa: F401

CONDITIONING, APPLY, GGA = "EgoX conditioning", "EgoX Apply", "Geometry-guided attention"
TRAINING = "released training"
EULER = {"sampler_name": "euler", "scheduler": "simple", "cfg": 5.0}


def graph_with(**inputs: dict[str, Any]) -> Graph:
    """The shipped graph on the small take; `conditioning`, `apply` and `gga` change inputs of those nodes."""
    graph = with_inputs(egox_graph(steps=STEPS, seed=SEED, **EULER), "Shift", shift=SHIFT)
    for name, title in (("conditioning", CONDITIONING), ("apply", APPLY), ("gga", GGA)):
        graph = with_inputs(graph, title, **inputs.get(name, {}))
    return graph


def clip_as_trained(record: dict[str, torch.Tensor], take: Path) -> Any:
    loaded = read_take(take)
    geometry = GGAGeometry.AS_TRAINED
    directions = gga_directions(loaded.exo_camera, loaded.depth, loaded.ego_camera, **TOKENS, geometry=geometry)
    clip = clip_of(record, take)
    return replace(clip, ego_queries=directions.ego_queries, exo_keys=directions.exo_keys)


def loop(network: Any, clip: Any, **settings: Any) -> torch.Tensor:  # noqa: F811
    noise = torch.randn(clip.prior.shape, generator=torch.manual_seed(SEED))
    with torch.inference_mode():
        return sample(comfyui_predict(network), clip, noise, steps=STEPS, shift=SHIFT, cfg=5.0, **settings)


@pytest.fixture
def recorded_run(comfy_server, comfy_client, small_take):
    """Run a graph; returns what its sampler got and gave."""
    return lambda graph, name: run(comfy_server, comfy_client, graph, f"{name}.safetensors")


@pytest.fixture(scope="module")
def black_features(comfy_server, tmp_path_factory):
    """What core's own encoder makes of a black picture."""
    import comfy.clip_vision

    config = tmp_path_factory.mktemp("clip_vision") / "config.json"
    config.write_text(json.dumps(CLIP_VISION_CONFIG))
    model = comfy.clip_vision.ClipVisionModel(str(config))
    model.load_sd(load_file(comfy_server.base.joinpath("models", *FILES["clip_vision"])))
    with torch.inference_mode():
        return model.encode_image(torch.zeros(1, 224, 224, 3)).penultimate_hidden_states


def test_released_training(recorded_run, comfy_server, small_take, network, black_features):  # noqa: F811
    said_before = len(comfy_server.log.read_text())
    graph = graph_with(conditioning={"match": TRAINING}, gga={"geometry": "as matched", "strength": 3.0})
    record = recorded_run(graph, "training")
    clip = clip_as_trained(record, small_take)
    torch.testing.assert_close(record["positive_clip"], black_features, rtol=0, atol=1e-4)
    bias = dense_pair_bias(clip, "release", 1.0)
    expected = loop(network, clip, bias=bias, marks_last_frame=True)
    assert (record["samples"] - expected).abs().max() < 1e-4
    # Each of the four would be noticed.
    real = recorded_run(graph_with(conditioning={"clip_picture": "real"}), "real")
    others = {
        "geometry": loop(network, clip, bias=dense_pair_bias(clip_of(record, small_take), "release", 1.0),
                         marks_last_frame=True),
        "lambda": loop(network, clip, bias=dense_pair_bias(clip, "release", 3.0), marks_last_frame=True),
        "mask": loop(network, clip, bias=bias),
        "picture": loop(network, replace(clip, clip_features=real["positive_clip"]), bias=bias, marks_last_frame=True),
    }  # fmt: skip
    for name, other in others.items():
        assert (other - expected).abs().max() > 1e-3, name
    said = comfy_server.log.read_text()[said_before:]
    assert "GGA: geometry as trained, lambda 1 (by released training), form release." in said


def test_released_inference_as_matched_is_what_graphs_name_today(recorded_run, comfy_server, small_take):
    said_before = len(comfy_server.log.read_text())
    named = recorded_run(graph_with(gga={"geometry": "as released", "strength": 3.0}), "named")
    matched = recorded_run(graph_with(gga={"geometry": "as matched", "strength": 1.5}), "matched")
    assert torch.equal(named["samples"], matched["samples"])
    (unused,) = [line for line in comfy_server.log.read_text()[said_before:].splitlines() if "not used" in line]
    assert "lambda 3 (by released inference), form release. The node's lambda 1.5 is not used" in unused


def test_every_setting_of_training_can_be_taken_back(recorded_run, small_take):
    inference = recorded_run(graph_with(gga={"geometry": "as released", "strength": 3.0}), "inference")
    graph = graph_with(
        conditioning={"match": TRAINING, "clip_picture": "real"},
        apply={"last_frame_mask": "off"},
        gga={"geometry": "as released", "strength": 3.0},
    )
    assert torch.equal(recorded_run(graph, "taken_back")["samples"], inference["samples"])


def test_the_ablations_together(recorded_run, comfy_server, small_take, network):  # noqa: F811
    graph = graph_with(
        conditioning={"prior": "none (ablation)"},
        apply={"exo_noise": "noisy (ablation)"},
        gga={"guidance": "off (ablation)"},
    )
    record = recorded_run(graph, "ablations")
    import comfy.sd

    vae = comfy.sd.VAE(sd=load_file(comfy_server.base.joinpath("models", *FILES["vae"])))
    with torch.inference_mode():
        black = vae.encode(torch.zeros(5, 64, 64, 3))
    torch.testing.assert_close(record["positive_prior"], black, rtol=0, atol=1e-4)
    clip = clip_of(record, small_take)
    generator = torch.manual_seed(SEED)
    torch.randn(clip.prior.shape, generator=generator)
    exo_noise = torch.randn(clip.exo.shape, generator=generator)
    expected = loop(network, clip, exo_noise=exo_noise)
    assert (record["samples"] - expected).abs().max() < 1e-4
    assert (loop(network, clip) - expected).abs().max() > 1e-2


def test_an_exo_latent_that_tells_no_match(recorded_run, small_take):
    """From a VAE Encode of one's own: released inference, as before."""
    graph = graph_with(conditioning={"match": TRAINING, "clip_picture": "real"}, gga={"geometry": "as matched"})
    encode = {"pixels": [node_id(graph, "Take"), 0], "vae": [node_id(graph, "VAE"), 0]}
    graph = with_node(graph, "911", "VAEEncode", "Encode", **encode)
    got = recorded_run(with_inputs(graph, APPLY, exo_latent=["911", 0]), "encoded")
    inference = recorded_run(graph_with(gga={"geometry": "as matched"}), "inference_again")
    assert torch.equal(got["samples"], inference["samples"])


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("conditioning", "match"),
        ("conditioning", "clip_picture"),
        ("conditioning", "prior"),
        ("apply", "last_frame_mask"),
        ("apply", "exo_noise"),
        ("gga", "geometry"),
        ("gga", "guidance"),
    ],
)
def test_a_choice_that_is_not_there(refuse, small_take, node, name):
    assert f"'{name}' takes one of" in refuse(graph_with(**{node: {name: "of tomorrow"}}))
