"""The shipped Exo2EgoSyn workflows with the tiny models, small and short, as the node tests change and run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo.graph import STAND_IN_LOADERS, Graph, node_id, with_inputs

from exo2ego.networks.components.files import write_component
from exo2ego.networks.components.metadata import Component

from .graphs import api_graph, only_outputs
from .tiny_components import VAWAN_POSES, tiny_vawan, write_tiny_component
from .tiny_models import FILES

SIZE, FRAMES = 32, 5
BASE = "tiny_wan_i2v_2.2.safetensors"
NONE = dict.fromkeys((component.value for component in Component), "none")


def write_tiny_components(models_dir: Path) -> dict[str, str]:
    """Write one file of every component below ComfyUI's models folder; returns name by component."""
    folder = models_dir / "exo2egosyn"
    folder.mkdir(parents=True, exist_ok=True)
    for poses in VAWAN_POSES:
        part = tiny_vawan(poses)
        write_component(folder / vawan_file(poses), part.metadata, part.state_dict)
    return {component.value: write_tiny_component(folder, component).name for component in Component}


def vawan_file(poses: str) -> str:
    """Return the file of a VAWAN with poses, by its name in `VAWAN_POSES`."""
    return f"tiny_vawan_{poses.replace(' ', '_')}.safetensors"


def egosyn_graph(name: str = "exo2egosyn", *, parts: dict[str, str] | None = None, **sampler: Any) -> Graph:
    """Return a workflow of the example room, up to the sampler's recorded result.

    Args:
        name: `exo2egosyn` or `vawan`.
        parts: file by component in the place of the workflow's; `NONE` takes all away.
        sampler: inputs of the sampler.
    """
    graph = with_inputs(api_graph(name), "Take", size=SIZE, frames=FRAMES)
    graph = with_inputs(graph, "Base model", unet_name=BASE)
    graph = with_inputs(graph, "VAE", vae_name=FILES["vae"][1])
    graph = with_inputs(graph, "Text encoder", clip_name=FILES["clip"][1])
    chosen = graph[node_id(graph, "Components")]["inputs"]
    tiny = {key: "none" if value == "none" else f"tiny_{key}.safetensors" for key, value in chosen.items()}
    graph = with_inputs(graph, "Components", **{**tiny, **(parts or {})})
    graph = with_inputs(graph, "Ego camera's path", width=SIZE, height=SIZE)
    graph = with_inputs(graph, "Sampler", **{"steps": 2, "sampler_name": "euler", **sampler})
    for node in graph.values():
        node["class_type"] = STAND_IN_LOADERS.get(node["class_type"], node["class_type"])
    return only_outputs(graph, "Save ego video")


def recorded_syn(graph: Graph, filename: str) -> Graph:
    """Return the graph up to a recorder of what the sampler gets and gives."""
    conditioning = node_id(graph, "Conditioning")
    inputs = {
        "positive": [conditioning, 0],
        "negative": [conditioning, 1],
        "first_latent": [node_id(graph, "First ego frame"), 0],
        "samples": [node_id(graph, "Sampler"), 0],
        "views": [node_id(graph, "Exo views"), 0],
        "filename": filename,
    }
    paths = [key for key, node in graph.items() if node["class_type"] == "Exo2EgoPlucker"]
    if paths:
        inputs["plucker"] = [paths[0], 0]
    recorder = {"class_type": "StandInRecordSyn", "inputs": inputs, "_meta": {"title": "Record"}}
    return only_outputs({**graph, "900": recorder}, "Record")
