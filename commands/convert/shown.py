"""How far a long run is, on the terminal's error stream."""

from __future__ import annotations

import sys
import time

_SILENT_SECONDS = 2.0  # shorter runs need no progress
_LINE_SECONDS = 10.0  # between two lines in a log


class Progress:
    """Shows done and total: in place on a terminal, as a line now and then in a log.

    Args:
        what: what is done, such as "writing".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = time.monotonic()
        self._shown = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        """Show it, if it is time."""
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self._start < _SILENT_SECONDS or (not terminal and now - self._shown < _LINE_SECONDS):
            return
        self._shown = now
        end = "" if terminal and done < total else "\n"
        print(f"{chr(13) if terminal else ''}{self._what}: {100 * done // max(total, 1)} %", end=end, file=sys.stderr)
