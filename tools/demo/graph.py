"""The demo's edits of the shipped API workflows: input values by node title, and nothing else.

This table is all the demo knows of the workflows. A title that a workflow has no longer is an error.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
API_WORKFLOWS = ROOT / "workflows" / "api"

# The workflows of the pocket model, the one for a clip with files of its own, and the one for a take.
POCKET_WORKFLOW = API_WORKFLOWS / "1_pocket.json"
POCKET_SYN_WORKFLOW = API_WORKFLOWS / "pocket_exo2egosyn.json"
CLIP_WORKFLOW = API_WORKFLOWS / "egox.json"
TAKE_WORKFLOW = API_WORKFLOWS / "egox_take.json"

# Titles of nodes whose inputs are set, or whose results are read.
EXO_VIDEO = "Exo video"
METRIC_DEPTH = "Metric depth"
EXO_CAMERA = "Exo camera"
CAMERA_EDITOR = "Camera editor"
PROMPT = "Prompt"
TAKE = "Take"
POINT_CLOUD = "Point cloud"
EGO_PRIOR = "Ego prior"
SAMPLER = "Sampler"
EXO_VIEWS = "Exo views"
SAVE_PRIOR = "Save ego prior"
SAVE_EGO = "Save ego video"

# Model role: the title of its loader, and the input that names the file.
LOADERS = {
    "unet": ("Base model", "unet_name"),
    "lora": ("EgoX LoRA", "lora_name"),
    "vae": ("VAE", "vae_name"),
    "clip": ("Text encoder", "clip_name"),
    "clip_vision": ("CLIP vision", "clip_name"),
}

# Stock loaders of encoders take real sizes only; these take the tiny ones. Same inputs, same outputs.
STAND_IN_LOADERS = {"CLIPLoader": "StandInCLIPLoader", "CLIPVisionLoader": "StandInCLIPVisionLoader"}

Graph = dict[str, dict[str, Any]]


def load_graph(path: Path) -> Graph:
    """Read a workflow in API format."""
    return json.loads(path.read_text(encoding="utf-8"))


def node_id(graph: Graph, title: str) -> str:
    """Return the number of the one node with a title.

    Raises:
        KeyError: if no node has it, or several have.
    """
    found = [number for number, node in graph.items() if node.get("_meta", {}).get("title") == title]
    if len(found) != 1:
        raise KeyError(f"expected one node titled {title!r} in the workflow, found {len(found)}")
    return found[0]


def with_inputs(graph: Graph, title: str, **values: Any) -> Graph:
    """Return the graph with inputs of one node set; the value `None` takes an input's link away.

    Raises:
        KeyError: if the node is not there, or lacks an input to take away.
    """
    edited = copy.deepcopy(graph)
    inputs = edited[node_id(edited, title)]["inputs"]
    for name, value in values.items():
        if value is None:
            del inputs[name]
        else:
            inputs[name] = value
    return edited


def with_models(graph: Graph, names: dict[str, str], *, stand_ins: bool) -> Graph:
    """Return the graph with a file name in each loader, and the stand-ins' own loaders where they are needed."""
    for role, (title, name) in LOADERS.items():
        graph = with_inputs(graph, title, **{name: names[role]})
    if stand_ins:
        for node in graph.values():
            node["class_type"] = STAND_IN_LOADERS.get(node["class_type"], node["class_type"])
    return graph
