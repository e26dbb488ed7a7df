"""One program at a time in a batch's folder; a killed one leaves no lock behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BatchError

_FILE = ".lock"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder for the block.

    Raises:
        BatchError: if another program has it, or its disk knows no locks.
    """
    with open(folder / _FILE, "a+b") as file:
        try:
            _lock(file.fileno())
        except (BlockingIOError, PermissionError) as error:
            raise BatchError(f"Another program runs a batch into {folder}. Wait for it, or stop it.") from error
        except OSError as error:
            raise BatchError(f"{folder} cannot be locked ({error.strerror}). Take a disk that knows locks.") from error
        yield


def _lock(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
