"""Asyncio tasks that end when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 1.0


async def stop_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is dropped.

    They are told again and again: a task can lose its cancellation, as `asyncio.wait_for` drops one that comes at the
    moment when what it waits for is done (Python 3.11 and older). Told once, a task that goes on for ever is waited for
    for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # asyncio would complain of one that nobody has looked at
