"""Memory that ComfyUI's compiler must not plan.

Since 0.35 ComfyUI may record on CUDA which memory a model's block takes, and give it the same at every later call. A
tensor that outlives its block, or that only some calls make, breaks such a record: this pack's directions, features of
a call and recorded attention do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

try:
    import comfy.model_prefetch as prefetch
except ImportError:  # versions without a compiler
    prefetch = None


# Whether the thread is in such a context: the end of one within another must not end both.
_outside = threading.local()


@contextmanager
def outside_replayed_graphs() -> Iterator[None]:
    """Give a context whose allocations ComfyUI's compiler leaves out; nothing happens where it is not at work."""
    if getattr(_outside, "now", False):
        yield
        return
    with _pause():
        _outside.now = True
        try:
            yield
        finally:
            _outside.now = False


def _pause() -> AbstractContextManager[None]:
    if (pause := getattr(prefetch, "pause_malloc_graph", None)) is not None:
        return pause()
    # The first versions with a compiler have no such function, but the record of each thread.
    graph = getattr(prefetch, "ACTIVE_MALLOC_GRAPHS", {}).get(threading.get_ident())
    return nullcontext() if graph is None else _paused(graph)


@contextmanager
def _paused(graph: Any) -> Iterator[None]:
    graph.pause()
    try:
        yield
    finally:
        graph.resume()
