"""Which model calls run in full, and which compute the ego tokens alone."""

from __future__ import annotations


def serves(kept_at: int | None, step: int, every: int) -> bool:
    """Whether keys and values of one step may serve another: it is no earlier, and fewer than `every` steps later.

    Args:
        kept_at: the step at which they were computed; None if there are none.
        step: the step that is to be computed.
        every: of how many steps one runs in full.
    """
    return kept_at is not None and 0 <= step - kept_at < every
