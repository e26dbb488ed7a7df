"""Progress bar, cancelling and the line of text below a node."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.utils

logger = logging.getLogger(__name__)


def progress_bar() -> Callable[[int, int], None]:
    """Return a callback (done, total) that moves the node's progress bar and raises when the artist cancels."""
    bar: comfy.utils.ProgressBar | None = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar = bar or comfy.utils.ProgressBar(total)
        bar.update_absolute(done, total)

    return report


def show_text(node: type, text: str) -> None:
    """Write `text` below the node in the editor (does nothing where no editor listens).

    Args:
        node: the class as `execute` gets it; its schema must ask for `io.Hidden.unique_id`.
        text: plain text.
    """
    from server import PromptServer

    server: Any = getattr(PromptServer, "instance", None)
    if server is not None and node.hidden is not None and node.hidden.unique_id is not None:
        server.send_progress_text(text, node.hidden.unique_id)


def warn(node: type, text: str) -> None:
    """Tell the artist of something that is likely wrong but does not stop the run: in the log and on the node."""
    # ComfyUI runs a clone of the class, so that nodes cannot change what others share.
    logger.warning("%s: %s", node.__name__.removesuffix("Clone"), text)
    show_text(node, f"Warning: {text}")
