"""The most memory that torch's CPU allocator has given out at a time, while some code runs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile


def peak_allocation(run: Callable[[], object]) -> int:
    """Return the most bytes at a time of the blocks that are allocated while `run` runs.

    The allocator remembers the blocks of earlier profiles. One of those that is freed meanwhile, whenever Python's
    garbage collector comes to it, is no block of this run and counts for nothing.
    """
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    blocks: dict[int, int] = {}
    alive = peak = 0
    tree = profiler.profiler.kineto_results.experimental_event_tree()
    for event in sorted(_allocations(tree), key=lambda event: event.start_time_ns):
        address, size = event.extra_fields.ptr, event.extra_fields.alloc_size
        if size > 0:
            blocks[address] = size
            alive += size
            peak = max(peak, alive)
        else:
            alive -= blocks.pop(address, 0)
    return peak


def _allocations(events: Iterable[Any]) -> Iterator[Any]:
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event
        yield from _allocations(event.children)
