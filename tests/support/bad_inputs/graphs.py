"""For every node of the pack a small graph that runs: its inputs are those of a shipped workflow."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.graph import STAND_IN_LOADERS, Graph

from exo2ego.takes.egox.write import write_take
from exo2ego.takes.example.room import example_take
from support.egosyn_api import BASE
from support.graphs import api_graph, needed, with_node
from support.tiny_depth_pro import save_tiny_depth_pro
from support.tiny_models import FILES
from support.tiny_people import save_tiny_detector, save_tiny_masks, save_tiny_pose
from support.tiny_vlm import save_tiny_vlm

NODE, LOOK = "node", "look"
TAKE = "bad_inputs_take"
DEPTH_PRO = VLM = "bad_inputs_tiny"
_CLIP, _CAMERA = "bad_inputs_exo.mp4", "bad_inputs_camera.json"
# Nodes are taken from the first that has them.
_ORDER = ("ego_camera", "ego_prior", "exo2egosyn", "attention_map", "egox", "1_pocket", "people")

# Node type: what makes it small. Other inputs stay as the workflow has them.
_SMALL: dict[str, dict[str, Any]] = {
    "VAELoader": {"vae_name": FILES["vae"][1]},
    "CLIPLoader": {"clip_name": FILES["clip"][1]},
    "CLIPVisionLoader": {"clip_name": FILES["clip_vision"][1]},
    "LoadVideo": {"file": _CLIP},
    "ImageFromBatch": {"length": 5},
    "ImageScale": {"width": 128, "height": 64},
    "KSampler": {"steps": 2},
    "Exo2EgoEgoXLoader": {"lora_name": FILES["lora"][1]},
    "Exo2EgoLoadTake": {"take": TAKE},
    "Exo2EgoLoadClip": {"file": _CLIP, "frames": 5, "width": 128, "height": 64},
    "Exo2EgoLoadKeypoints": {"max_frames": 5},
    "Exo2EgoLoadEgoExo4D": {"size": 32, "frames": 1},
    "Exo2EgoPlucker": {"width": 32, "height": 32},
    "Exo2EgoDepthPro": {"weights": DEPTH_PRO},
    "Exo2EgoPointCloud": {"reliability": 1.0},  # depth of tiny random weights is rugged
    "Exo2EgoFindPeople": {**{name: f"bad_inputs_{name}" for name in ("detector", "pose", "masks")}, "confidence": 0.3},
    # Tiny random weights describe nothing, and an empty prompt is an error.
    "Exo2EgoCaption": {"weights": VLM, "frames": 2, "exo_scene": "A room.", "ego_action": "Two hands."},
    "Exo2EgoCameraFile": {"file": _CAMERA, "width": 64, "height": 64},
    "Exo2EgoHeadPose": {"width": 64, "height": 64},
    "Exo2EgoAttentionMap": {"frame": 3, "steps": 4, "times": 3},
}


def write_files(base: Path) -> None:
    """Write what the graphs read beside the tiny models: the example room in small, its video, tiny networks."""
    take = base / "input" / TAKE
    if not take.is_dir():
        # As wide for its height as the example's keypoints are.
        write_take(example_take(5, exo_width=112, exo_height=64, ego_size=64), take)
    shutil.copy(take / "exo.mp4", base / "input" / _CLIP)
    shutil.copy(take / "ego_camera.json", base / "input" / _CAMERA)
    if not (base / "models" / "depth_pro" / DEPTH_PRO).is_dir():
        save_tiny_depth_pro(base / "models" / "depth_pro" / DEPTH_PRO)
    people, vlm = base / "models" / "people", base / "models" / "vlm" / VLM
    if not vlm.is_dir():
        save_tiny_vlm(vlm, taught=False)
        for name, save in (("detector", save_tiny_detector), ("pose", save_tiny_pose), ("masks", save_tiny_masks)):
            save(people / f"bad_inputs_{name}")


def small_graph(workflow: str) -> Graph:
    """Return a shipped API graph with the tiny models and few frames."""
    graph = api_graph(workflow)
    for node in graph.values():
        kind, inputs = node["class_type"], node["inputs"]
        if kind == "UNETLoader":
            inputs["unet_name"] = BASE if "wan2.2" in inputs["unet_name"] else FILES["unet"][1]
        elif kind == "LoraLoaderModelOnly":
            inputs["lora_name"] = FILES["lora"][1]
        elif kind == "Exo2EgoSynLoader":
            chosen = {name: value for name, value in inputs.items() if value != "none"}
            inputs.update({name: f"tiny_{name}.safetensors" for name in chosen})
        inputs.update(_SMALL.get(kind, {}))
        node["class_type"] = STAND_IN_LOADERS.get(kind, kind)
    return graph


@dataclass(frozen=True)
class NodeGraph:
    """A graph of one node, with good inputs that were kept, its results looked at.

    Attributes:
        node: the node's type.
        graph: its number is NODE; each link comes from a StandInKept.
    """

    node: str
    graph: Graph


def graphs_of_nodes(nodes: dict[str, int]) -> tuple[list[Graph], list[NodeGraph]]:
    """Find a shipped workflow for every node.

    Args:
        nodes: how many outputs each node type has.

    Returns:
        Graphs that keep what the nodes are linked to, to be run once, and each node's own graph.

    Raises:
        AssertionError: if no shipped workflow has a node.
    """
    keeping, found = [], {}
    for workflow in _ORDER:
        graph, kept = small_graph(workflow), {}
        for entry in graph.values():
            node = entry["class_type"]
            if node not in nodes or node in found:
                continue
            links = {name: value for name, value in entry["inputs"].items() if isinstance(value, list)}
            own = {NODE: {**entry, "inputs": {**entry["inputs"], **{name: [f"kept {name}", 0] for name in links}}}}
            for name, link in links.items():
                inputs = {"name": f"{node}.{name}"}
                own = with_node(own, f"kept {name}", "StandInKept", name, **inputs)
                kept = with_node(kept, f"keep {node}.{name}", "StandInKeep", name, value=link, **inputs)
            looked = {f"value_{number}": [NODE, number] for number in range(nodes[node])}
            found[node] = NodeGraph(node, with_node(own, LOOK, "StandInLook", "Look", **looked))
        if kept:
            keeping.append({**needed(graph, [entry["inputs"]["value"][0] for entry in kept.values()]), **kept})
    missing = sorted(set(nodes) - set(found))
    assert not missing, f"{', '.join(missing)} are in no shipped workflow: see CONTRIBUTING.md"
    return keeping, list(found.values())
