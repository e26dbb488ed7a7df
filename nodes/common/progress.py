"""Progress bar, cancelling and the lines of text below a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management

from ...common.cancel import cancellable
from ...common.memory import memory_errors_told
from ...common.safe_text import for_page, safe_logger
from ...wan.shared.progress import progress_bar

__all__ = [
    "TEXT_KEY",
    "WARNING_KEY",
    "collecting_texts",
    "logger",
    "progress_bar",
    "show_text",
    "warn",
    "within_limits",
]

# Entries of a node's `ui` output, lists of texts: web/js/node_texts.js shows them.
TEXT_KEY, WARNING_KEY = "exo2ego_text", "exo2ego_warning"

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


@dataclass
class _Told:
    """What one run of a node said so far."""

    node: str
    warnings: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


_telling: ContextVar[_Told | None] = ContextVar("telling", default=None)


@contextmanager
def collecting_texts(node: type) -> Iterator[dict[str, list[str]]]:
    """Collect what a node says while it runs, for its `ui` output: the page shows that for as long as it holds.

    Args:
        node: the class as `execute` gets it. One whose schema does not ask for `io.Hidden.unique_id` says nothing.

    Yields:
        The `ui` entries, filled when the block ends: `TEXT_KEY` and `WARNING_KEY`, empty lists where nothing was said,
        which takes an earlier run's texts away.
    """
    found: dict[str, list[str]] = {}
    number = _number_of(node)
    told = _Told(number or "")
    token = _telling.set(told)
    try:
        yield found
    finally:
        _telling.reset(token)
    if number is not None:
        found.update({TEXT_KEY: told.texts, WARNING_KEY: told.warnings})


def show_text(node: type, text: str) -> None:
    """Write `text` below the node in the editor (does nothing where no editor listens); more than one are lines.

    Args:
        node: the class as `execute` gets it; its schema must ask for `io.Hidden.unique_id`.
        text: plain text; what names from files bring along is made harmless.
    """
    _tell(node, text, warning=False)


def warn(node: type, text: str) -> None:
    """Tell the artist of something that is likely wrong but does not stop the run: in the log and on the node."""
    # ComfyUI runs a clone of the class, so that nodes cannot change what others share.
    logger.warning("%s: %s", node.__name__.removesuffix("Clone"), text)
    _tell(node, text, warning=True)


def _tell(node: type, text: str, *, warning: bool) -> None:
    number = _number_of(node)
    if number is None:
        return
    told = _telling.get()
    if told is None or told.node != number:  # said later, such as when sampling starts
        told = _Told(number)
    said = told.warnings if warning else told.texts
    if text not in said:
        said.append(text)
    _send("\n".join([*(f"Warning: {one}" for one in told.warnings), *told.texts]), number)


def _send(text: str, number: str) -> None:
    """Send what a node says to the client that asked for the run. To all, it would show on other graphs' nodes."""
    from server import PromptServer

    server: Any = getattr(PromptServer, "instance", None)
    if server is not None and server.client_id is not None:
        server.send_progress_text(for_page(text), number, server.client_id)


def _number_of(node: type) -> str | None:
    hidden = getattr(node, "hidden", None)
    return None if hidden is None or hidden.unique_id is None else str(hidden.unique_id)
