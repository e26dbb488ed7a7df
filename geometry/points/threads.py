"""Work that shares nothing, in threads: NumPy and torch let others run while they compute."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import torch

T, R = TypeVar("T"), TypeVar("R")

_MOST_THREADS = 4  # each needs memory for its temporaries
_AHEAD = 2  # items for each thread that are begun or wait, so that none stands still while the caller makes new ones


def n_threads_on(device: torch.device | str) -> int:
    """Return how many threads share work on a device: on a CPU some of those that torch may use, else one."""
    return min(torch.get_num_threads(), _MOST_THREADS) if torch.device(device).type == "cpu" else 1


def map_in_threads(
    work: Callable[[T], R], items: Iterable[T], n_threads: int, most_ahead: int | None = None
) -> Iterator[R]:
    """Yield the results of `work` in the order of the items, of which few are worked on or wait at a time.

    `work` may ask whether to go on (see `cancel`), and computes in inference mode if the caller does. What it raises is
    raised here; what has begun is finished before that, and no thread begins anything after that.

    Args:
        work: is called in several threads at once.
        items: are fetched in the caller's thread.
        n_threads: how many compute; with one, no thread is made.
        most_ahead: how many items are fetched before the first one's result is; None for two a thread.
    """
    if n_threads <= 1:
        yield from map(work, items)
        return
    is_inference = torch.is_inference_mode_enabled()
    errors: list[BaseException] = []

    def within(item: T) -> R:
        if errors:
            raise errors[0]
        try:
            with torch.inference_mode(is_inference):
                return work(item)
        except BaseException as error:
            errors.append(error)
            raise

    ahead = _AHEAD * n_threads if most_ahead is None else min(most_ahead, _AHEAD * n_threads)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                if errors:
                    break
                waiting.append(pool.submit(copy_context().run, within, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
