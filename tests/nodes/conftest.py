"""A small take in the running ComfyUI's input folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.graphs import write_small_take


@pytest.fixture(scope="session")
def small_take(comfy_server) -> Path:
    """The small take's folder; tests that change files copy it first."""
    return write_small_take(comfy_server.base / "input")
