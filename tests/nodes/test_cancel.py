"""Cancelling in the middle of rendering and of sampling."""

from __future__ import annotations

import pytest

from exo2ego.commands.comfyui.errors import ExecutionInterruptedError
from support.graphs import SMALL_TAKE, Graph, egox_graph, prior_graph, with_inputs, with_node


def slow_to_render() -> Graph:
    """A large picture with large points: many batches."""
    numbers = {"lens": "pinhole", "width": 1536, "height": 1536, "fov": 90.0, "x": 0.0, "y": 0.0, "z": 0.0}
    graph = with_node(prior_graph(), "930", "Exo2EgoCamera", "Wide", **numbers, yaw=0.0, pitch=0.0, roll=0.0)
    return with_inputs(graph, "Ego prior", camera=["930", 0], radius=15.0)


@pytest.mark.parametrize(
    ("graph", "title"),
    [
        (with_inputs(prior_graph("example room"), "Take", max_frames=9), "Take"),
        (slow_to_render(), "Ego prior"),
        (egox_graph(SMALL_TAKE, steps=200), "Sampler"),
    ],
    ids=["take", "render", "sample"],
)
def test_cancel(comfy_client, small_take, graph, title):
    seen = []

    def interrupt(progress) -> None:
        if progress.title == title:
            seen.append(progress.done)
            if len(seen) == 2:
                comfy_client.interrupt()

    with pytest.raises(ExecutionInterruptedError, match=title):
        comfy_client.run(graph, on_progress=interrupt)
    assert comfy_client.get("/queue") == {"queue_running": [], "queue_pending": []}
    # The server is in order: the next run goes through.
    comfy_client.run(egox_graph())
