"""The shipped templates, their API twins and the blueprints of their subgraphs, as files.

A template's file name is the title that the template browser shows, and its number the order. Scripts, the doctor and
the tests know it by the short name that stands in its `extra`, which is that of its API twin.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
API_WORKFLOWS = WORKFLOWS / "api"
BLUEPRINTS = ROOT / "subgraphs"

# What a person looks for among the nodes, with the template that it stands in.
SHIPPED_BLUEPRINTS = {
    "Clip to Scene": ("egox", "A clip to its points, depth in metres and camera, by DepthPro or a depth file."),
    "Ego Camera": ("egox", "A clip to the camera at one person's eyes: who is there, and where the head looks."),
    "EgoX Sampler": ("egox", "Clip, ego prior, cameras and prompt to the first-person video, by EgoX on Wan 2.1."),
    "Exo2EgoSyn Sampler": ("exo2egosyn", "One to four fixed cameras to the first-person video, on Wan 2.2."),
}


def templates() -> dict[str, Path]:
    """Return each template's file by its short name, in the order of the template browser."""
    return {read(path)["extra"]["exo2ego"]["name"]: path for path in sorted(WORKFLOWS.glob("*.json"))}


def read(path: Path) -> dict[str, Any]:
    """Read a workflow."""
    return json.loads(path.read_text(encoding="utf-8"))


def written(graph: dict[str, Any]) -> str:
    """Return a workflow as text; ASCII, as ComfyUI reads blueprints in the system's own encoding."""
    return json.dumps(graph, indent=1) + "\n"


def all_nodes(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a template's nodes, those in its subgraphs included and the nodes that stand for these left out."""
    subgraphs = template.get("definitions", {}).get("subgraphs", [])
    graphs = [template, *subgraphs]
    kinds = {subgraph["id"] for subgraph in subgraphs}
    return [node for graph in graphs for node in graph["nodes"] if node["type"] not in kinds]


def blueprint(template: dict[str, Any], name: str, description: str) -> dict[str, Any]:
    """Return one subgraph of a template as ComfyUI offers it among the nodes: one node, nothing connected.

    Raises:
        KeyError: if the template has no such subgraph.
    """
    (definition,) = [one for one in template["definitions"]["subgraphs"] if one["name"] == name] or [None]
    if definition is None:
        raise KeyError(f"the template has no subgraph {name!r}")
    (node,) = [node for node in template["nodes"] if node["type"] == definition["id"]]
    alone = {
        **node,
        "pos": [0, 0],
        "order": 0,
        "inputs": [{**slot, "link": None} for slot in node["inputs"]],
        "outputs": [{**slot, "links": None} for slot in node["outputs"]],
    }
    return {
        "revision": 0,
        "last_node_id": max(one["id"] for one in (node, *definition["nodes"])),
        "last_link_id": 0,
        "nodes": [alone],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition]},
        "extra": {"BlueprintDescription": description},
    }
