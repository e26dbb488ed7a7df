"""What goes wrong in a batch, told to people."""

from __future__ import annotations

import sqlite3

# SQLite's words for what passes; its other errors are of the file itself, also those that it calls operational.
_PASSING = ("locked", "is full", "unable to open", "readonly", "I/O error", "out of memory", "interrupted")


class BatchError(Exception):
    """The whole batch cannot go on: a wrong manifest, folder or command."""


class ServersGoneError(BatchError):
    """No server answers; the same command goes on once one does."""


class ClipError(Exception):
    """One clip cannot be made; the others go on."""


def passes(error: Exception) -> bool:
    """Whether an error is not of the journal itself, so that the same command may resume."""
    return isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _PASSING)
