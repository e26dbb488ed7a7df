"""What versions of ComfyUI differ in: tests of what the version at hand lacks are skipped, and the reason says so."""

from __future__ import annotations

import re
from functools import cache

import pytest

from .comfyui import comfyui_folder


@cache
def comfyui_version() -> str:
    """Return the version of the ComfyUI that the tests use, as its own file gives it."""
    text = (comfyui_folder() / "comfyui_version.py").read_text()
    return re.search(r'__version__ = "([^"]+)"', text)[1]


def skip_without(has_it: bool, what: str) -> None:
    """Skip a test where this ComfyUI lacks something.

    Args:
        has_it: whether it is there, found by looking for it, not by the version.
        what: it, for people: "context windows with causal_window_fix".
    """
    if not has_it:
        pytest.skip(f"ComfyUI {comfyui_version()} has no {what}")
