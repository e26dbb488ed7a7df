"""Camera Editor over HTTP, without a browser: text in, camera out, and what the page gets."""

from __future__ import annotations

import json

import pytest
import torch
from comfy_client import ExecutionFailedError

from exo2ego.geometry.camera import Camera
from exo2ego.geometry.packed_cloud import unpack_cloud
from exo2ego.geometry.presets import LensPreset
from exo2ego.geometry.trajectory import Keyframe, Trajectory
from exo2ego.geometry.trajectory_json import trajectory_from_json, trajectory_to_json
from support.graphs import Graph, node_id, prior_graph, with_inputs, with_node

KEYS = (
    Keyframe(0, (0.1, -0.2, 1.0), (1.0, 0.0, 0.0, 0.0), ease_out=1.0),
    Keyframe(2, (0.3, -0.2, 1.5), (0.98, 0.0, 0.2, 0.0)),
    Keyframe(4, (0.3, -0.1, 2.0), (0.95, 0.1, 0.3, 0.0), ease_in=0.5),
)


def editor_graph(trajectory: str = "", **inputs: object) -> Graph:
    graph = prior_graph()
    take, points = node_id(graph, "Take"), node_id(graph, "Point cloud")
    graph = with_node(
        {key: graph[key] for key in (take, points)},
        "960",
        "Exo2EgoCameraEditor",
        "Editor",
        images=[take, 0],
        points=[points, 0],
        exo_camera=graph[points]["inputs"]["camera"],
        trajectory=trajectory,
        **inputs,
    )
    return graph


def test_text_in_payload_out(comfy_client, small_take):
    run = comfy_client.run(editor_graph(trajectory_to_json(Trajectory(KEYS))))
    (answer,) = run.outputs["960"]["exo2ego_editor"]
    print({key: str(value)[:100] for key, value in answer.items()})
    cloud = unpack_cloud(comfy_client.fetch(answer["cloud"]))
    print(cloud.describe())
