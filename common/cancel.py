"""How long work below the nodes asks whether it is still wanted.

A node says once, for all that it calls, how to ask (`cancellable`); a loop that may take long asks after each bounded
piece of work (`cancel_point`). Nothing below the nodes knows who is asked, and functions need no parameter for it,
which constructors and properties could not take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("exo2ego_cancel_check", default=None)

# Numbers that a loop may work on from one cancel point to the next. The slowest work on them, a lens that solves for
# its rays in double precision, takes about half a second on one core.
MOST_NUMBERS = 2**21


@contextmanager
def cancellable(check: Callable[[], None]) -> Iterator[None]:
    """Let everything that runs in the block ask `check`, which raises to cancel."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def cancel_point() -> None:
    """Ask whether to go on: raises what `check` raises; outside `cancellable` nothing happens."""
    check = _check.get()
    if check is not None:
        check()


def bounded_slices(length: int, numbers_each: int, most: int = MOST_NUMBERS) -> Iterator[slice]:
    """Cut an axis into pieces of at most `most` numbers, one entry at least, with a cancel point before each.

    Args:
        length: of the axis.
        numbers_each: numbers that belong to one entry of the axis.
        most: numbers of a piece.
    """
    step = max(1, most // max(1, numbers_each))
    for start in range(0, length, step):
        cancel_point()
        yield slice(start, min(start + step, length))
