"""Progress bar, cancelling and the line of text below a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management

from ...common.cancel import cancellable
from ...common.memory import memory_errors_told
from ...common.safe_text import for_page, safe_logger
from ...wan.shared.progress import progress_bar

__all__ = ["logger", "progress_bar", "show_text", "warn", "within_limits"]

logger = safe_logger(__name__)


@contextmanager
def within_limits(node: str) -> Iterator[None]:
    """Let a node's work be cancelled at every `cancel_point`, and tell in a sentence where memory ends.

    Args:
        node: how the artist knows it.
    """
    check = comfy.model_management.throw_exception_if_processing_interrupted
    with cancellable(check), memory_errors_told(node):
        yield


def show_text(node: type, text: str) -> None:
    """Write `text` below the node in the editor (does nothing where no editor listens).

    Args:
        node: the class as `execute` gets it; its schema must ask for `io.Hidden.unique_id`.
        text: plain text; what names from files bring along is made harmless.
    """
    from server import PromptServer

    server: Any = getattr(PromptServer, "instance", None)
    if server is not None and node.hidden is not None and node.hidden.unique_id is not None:
        server.send_progress_text(for_page(text), node.hidden.unique_id)


def warn(node: type, text: str) -> None:
    """Tell the artist of something that is likely wrong but does not stop the run: in the log and on the node."""
    # ComfyUI runs a clone of the class, so that nodes cannot change what others share.
    logger.warning("%s: %s", node.__name__.removesuffix("Clone"), text)
    show_text(node, f"Warning: {text}")
