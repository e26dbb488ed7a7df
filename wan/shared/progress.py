"""ComfyUI's progress bar of the node that runs, and its way to cancel."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.utils


def progress_bar() -> Callable[[int, int], None]:
    """Return a callback (done, total) that moves the node's progress bar and raises when the artist cancels."""
    bar: comfy.utils.ProgressBar | None = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar = bar or comfy.utils.ProgressBar(total)
        bar.update_absolute(done, total)

    return report
