"""A small take in the running ComfyUI's input folder, and graphs that must fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from support.graphs import write_small_take


@pytest.fixture(scope="session")
def small_take(comfy_server) -> Path:
    """The small take's folder; tests that change files copy it first."""
    return write_small_take(comfy_server.base / "input")


@pytest.fixture
def refuse(comfy_server, comfy_client):
    """Run a graph that must fail; returns the text of the error."""

    def run(graph) -> str:
        output = comfy_server.base / "output"
        before = {path for path in output.rglob("*") if path.is_file()}
        steps = []
        with pytest.raises((ExecutionFailedError, PromptRejectedError)) as failure:
            comfy_client.run(graph, on_progress=lambda progress: steps.append((progress.title, progress.done)))
        assert ("Sampler", 1) not in steps, "a step was sampled before the error"
        assert {path for path in output.rglob("*") if path.is_file()} == before
        assert comfy_client.get("/queue") == {"queue_running": [], "queue_pending": []}
        return str(failure.value)

    return run
