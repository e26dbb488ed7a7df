"""Cancelling in the middle of rendering and of sampling."""

from __future__ import annotations

import pytest
from comfy_client import ExecutionInterruptedError

from support.graphs import egox_graph, prior_graph, with_inputs


@pytest.mark.parametrize(
    ("graph", "title"),
    [
        (with_inputs(prior_graph("example room"), "Take", max_frames=9), "Take"),
        (prior_graph(memory := "small_take"), "Ego prior"),
        (egox_graph(memory, steps=200), "Sampler"),
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
