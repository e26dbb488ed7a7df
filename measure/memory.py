"""Bytes that torch's allocator holds while something runs: exact, on the CPU as on a GPU."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass

# The profiler complains of a missing driver where a CUDA build of torch runs on a machine without GPU.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch

MB = 1e6


@dataclass(frozen=True)
class Taken:
    """Bytes beyond what was held before a run.

    Attributes:
        peak: most at a time.
        kept: still held at the end, the result included.
    """

    peak: int
    kept: int


def taken(run: Callable[[], object], device: torch.device) -> Taken:
    """Run something and return what it takes of the memory of `device`."""
    gc.collect()
    return _taken_of_gpu(run, device) if device.type == "cuda" else _taken_of_cpu(run)


def lacking(need: float, device: torch.device) -> str:
    """Return why something that needs so many bytes cannot be measured, or nothing."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        import psutil

        free = psutil.virtual_memory().available
    return f"needs about {need / MB:,.0f} MB, {free / MB:,.0f} are free" if need > free else ""


def _taken_of_gpu(run: Callable[[], object], device: torch.device) -> Taken:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return Taken(torch.cuda.max_memory_allocated(device) - before, torch.cuda.memory_allocated(device) - before)


def _taken_of_cpu(run: Callable[[], object]) -> Taken:
    """Add up what the allocator reports to the profiler; it sees the kernels' own buffers too."""
    with torch.autograd.profiler.profile(profile_memory=True, acc_events=True) as profiler:
        run()
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return Taken(peak, live)
