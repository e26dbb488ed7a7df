"""The shipped API graphs as the node tests change and run them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from demo.graph import API_WORKFLOWS, Graph, load_graph, node_id, with_inputs, with_models
from templates.files import read, templates

from .tiny_models import FILES

TEMPLATES = templates()
WORKFLOWS = sorted(TEMPLATES)
SMALL_TAKE = "small_take"


def api_graph(name: str) -> Graph:
    """Return a shipped API graph."""
    return load_graph(API_WORKFLOWS / f"{name}.json")


def template(name: str) -> dict[str, Any]:
    """Return a shipped template, as the template browser loads it."""
    return read(TEMPLATES[name])


def only_outputs(graph: Graph, *titles: str) -> Graph:
    """Keep what the named nodes need; everything else is left out."""
    return needed(graph, [node_id(graph, title) for title in titles])


def needed(graph: Graph, keys: Iterable[str]) -> Graph:
    """Keep these nodes and all that they are computed from."""
    wanted: set[str] = set()
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key not in wanted:
            wanted.add(key)
            pending += [value[0] for value in graph[key]["inputs"].values() if isinstance(value, list)]
    return {key: node for key, node in graph.items() if key in wanted}


def prior_graph(take: str = SMALL_TAKE, **render: Any) -> Graph:
    """Return the geometry-only graph of a take, up to its saved ego prior."""
    graph = with_inputs(api_graph("ego_prior"), "Take", take=take)
    if render:
        graph = with_inputs(graph, "Ego prior", **render)
    return only_outputs(graph, "Save ego prior")


def egox_graph(take: str = SMALL_TAKE, steps: int | None = 2, workflow: str = "egox_take", **sampler: Any) -> Graph:
    """Return the EgoX graph of a take with the tiny models, up to its saved ego video; `None` keeps its steps."""
    names = {role: name for role, (_, name) in FILES.items()}
    graph = with_models(with_inputs(api_graph(workflow), "Take", take=take), names, stand_ins=True)
    sampler = sampler if steps is None else {"steps": steps, **sampler}
    graph = with_inputs(graph, "Sampler", **sampler)
    return only_outputs(graph, "Save ego video")


def attention_map_graph(**inputs: Any) -> Graph:
    """Return the attention-map graph of the small take (5 frames) with the tiny models, sampler included.

    The node has the title "Attention map"; an input that is given as a title takes that node's first output.
    """
    graph = egox_graph()
    titles = {node["_meta"]["title"]: key for key, node in graph.items()}
    conditioning = titles["EgoX conditioning"]
    settings = {
        **{"model": "Geometry-guided attention", "exo": "Take", "ego": "Ego prior"},
        **{"frame": 3, "x": 0.8, "y": 0.3, "first_block": 0, "last_block": -1},
        **{"step": 0, "steps": 20, "scheduler": "simple", "seed": 11, "times": 3},
        **inputs,
    }
    links = {name: [titles[value], 0] if value in titles else value for name, value in settings.items()}
    latents = {"positive": [conditioning, 0], "latent": [conditioning, 3]}
    return with_node(graph, "900", "Exo2EgoAttentionMap", "Attention map", **{**latents, **links})


def recorded(graph: Graph, filename: str) -> Graph:
    """Add the recorder of what the sampler gets and gives."""
    conditioning = node_id(graph, "EgoX conditioning")
    inputs = {
        "positive": [conditioning, 0],
        "negative": [conditioning, 1],
        "exo_latent": [conditioning, 2],
        "samples": [node_id(graph, "Sampler"), 0],
        "filename": filename,
    }
    return {**graph, "900": {"class_type": "StandInRecord", "inputs": inputs, "_meta": {"title": "Record"}}}


def with_node(graph: Graph, key: str, class_type: str, title: str, **inputs: Any) -> Graph:
    """Add a node."""
    return {**graph, key: {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}}


def write_small_take(folder: Path, name: str = SMALL_TAKE, n_frames: int = 5) -> Path:
    """Write the example room in small as a take folder: 128 x 64 exo, 64 x 64 ego."""
    from exo2ego.takes.egox.write import write_take
    from exo2ego.takes.example.room import example_take

    write_take(example_take(n_frames, exo_width=128, exo_height=64, ego_size=64), folder / name)
    return folder / name
