"""The shipped workflows, as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.graphs import WORKFLOWS, api_graph

ROOT = Path(__file__).resolve().parents[2]


def ui_graph(name: str) -> dict:
    return json.loads((ROOT / "workflows" / f"{name}.json").read_text())


def test_there_are_workflows():
    assert WORKFLOWS == ["attention_map", "ego_camera", "ego_prior", "egox", "egox_take", "exo2egosyn", "vawan"]


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
