"""The shipped workflows, as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.graphs import WORKFLOWS, api_graph, node_id

ROOT = Path(__file__).resolve().parents[2]
EGOX = ("attention_map", "egox", "egox_fast", "egox_take")
SAMPLED = ("1_pocket", "egox", "egox_fast", "egox_take", "exo2egosyn", "vawan")


def ui_graph(name: str) -> dict:
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text())


def test_there_are_workflows():
    names = "1_pocket attention_map ego_camera ego_prior egox egox_fast egox_take exo2egosyn vawan"
    assert names.split() == WORKFLOWS


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_has_notes_groups_thumbnail_and_twin(name):
    graph = ui_graph(name)
    assert graph["groups"]
    assert any(entry["type"] == "MarkdownNote" for entry in graph["nodes"])
    assert (ROOT / "workflows" / f"{name}.jpg").stat().st_size > 10_000
    twins = {str(entry["id"]): entry for entry in graph["nodes"] if entry["type"] != "MarkdownNote"}
    assert {key: entry["class_type"] for key, entry in api_graph(name).items()} == {
        key: entry["type"] for key, entry in twins.items()
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_an_unchanged_graph_keeps_its_seed(name):
    """A seed that changes after each run would sample again where nothing was changed."""
    kept = [entry["widgets_values"] for entry in ui_graph(name)["nodes"] if entry["type"] == "KSampler"]
    assert [values[1] for values in kept] == ["fixed"] * (name in SAMPLED)
    assert "randomize" not in (ROOT / "workflows" / f"{name}.json").read_text()


@pytest.mark.parametrize(
    ("name", "shift", "sampling"),
    [
        ("egox", 3, {"sampler_name": "uni_pc_bh2", "scheduler": "simple", "steps": 50, "cfg": 5}),
        ("egox_take", 3, {"sampler_name": "uni_pc_bh2", "scheduler": "simple", "steps": 50, "cfg": 5}),
        ("egox_fast", 5, {"sampler_name": "euler", "scheduler": "simple", "steps": 4, "cfg": 1}),
        ("exo2egosyn", 5, {"sampler_name": "uni_pc", "scheduler": "simple", "steps": 40, "cfg": 3.5}),
        ("vawan", 5, {"sampler_name": "uni_pc", "scheduler": "simple", "steps": 40, "cfg": 3.5}),
    ],
)
def test_each_samples_as_its_authors_did(name, shift, sampling):
    graph = api_graph(name)
    inputs = graph[node_id(graph, "Sampler")]["inputs"]
    assert {key: inputs[key] for key in sampling} == sampling
    assert inputs["denoise"] == 1
    assert graph[node_id(graph, "Shift")]["inputs"]["shift"] == shift


@pytest.mark.parametrize("name", EGOX)
def test_egox_takes_an_empty_negative_prompt_and_plain_text(name):
    graph = api_graph(name)
    conditioning = graph[node_id(graph, "EgoX conditioning")]["inputs"]
    positive, negative = (graph[conditioning[key][0]] for key in ("positive", "negative"))
    assert {positive["class_type"], negative["class_type"]} == {"Exo2EgoEncodePrompt"}
    assert negative["inputs"]["text"] == ""
    assert positive["inputs"]["fit"] == "keep both views"


@pytest.mark.parametrize("name", EGOX)
def test_egox_follows_one_choice(name):
    graph = api_graph(name)
    assert graph[node_id(graph, "EgoX conditioning")]["inputs"]["match"] == "released inference"
    assert graph[node_id(graph, "Geometry-guided attention")]["inputs"]["geometry"] == "as matched"


def test_the_fast_one_is_the_takes_with_a_second_lora():
    take, fast = api_graph("egox_take"), api_graph("egox_fast")
    lora, shift = node_id(fast, "Distillation LoRA"), node_id(fast, "Shift")
    assert fast[lora]["class_type"] == "LoraLoaderModelOnly"
    assert fast[lora]["inputs"]["strength_model"] == 1
    assert fast[lora]["inputs"]["model"] == take[shift]["inputs"]["model"]
    assert fast[shift]["inputs"]["model"] == [lora, 0]
    changed = {key for key in take if take[key] != fast[key]}
    assert {take[key]["_meta"]["title"] for key in changed} == {
        *("Shift", "Sampler", "Save ego video", "Save contact sheet")
    }
    assert set(fast) - set(take) == {lora}


def test_every_node_stands_in_a_workflow(comfy_client):
    used = {entry["class_type"] for name in WORKFLOWS for entry in api_graph(name).values()}
    ours = {name for name in comfy_client.get("/object_info") if name.startswith("Exo2Ego")}
    assert ours <= used


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_workflow_needs_another_pack(comfy_client, name):
    known = comfy_client.get("/object_info")
    for entry in api_graph(name).values():
        info = known[entry["class_type"]]
        assert info["python_module"] == "custom_nodes.ComfyUI-Exo2Ego" or not info["python_module"].startswith(
            "custom_nodes"
        )
        inputs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        assert set(entry["inputs"]) <= set(inputs)
        assert set(info["input"].get("required", {})) <= set(entry["inputs"])
