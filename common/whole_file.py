"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .messages import gigabytes

# What systems say of a disk without room, of a user's share of it that is used up, and of a file too large for either.
_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EFBIG: "the file is larger than this disk or user may have"}
if hasattr(errno, "EDQUOT"):
    _NO_ROOM[errno.EDQUOT] = "the user's quota is used up"


class NoRoomError(OSError):
    """A file did not fit on its disk; nothing that was there has changed."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it there once the block ended well, else remove it.

    Raises:
        NoRoomError: if the disk is full, the sentence for people; other errors of the block are passed on.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # of a killed process of this number, or a link that somebody put there
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise NoRoomError(error.errno, _told(path, unfinished, _NO_ROOM[error.errno])) from error
    finally:
        # Where the folder could not be made there is nothing to remove, and what is in its way stays.
        with suppress(NotADirectoryError):
            unfinished.unlink(missing_ok=True)


def _told(path: Path, unfinished: Path, why: str) -> str:
    """Return the sentence for people: how far it came, what is free, that nothing is lost."""
    written = free = ""
    with suppress(OSError):
        written = f" after {gigabytes(unfinished.stat().st_size)}"
    with suppress(OSError):
        free = f" (free beside it: {gigabytes(shutil.disk_usage(path.parent).free)})"
    return (
        f"{path} could not be written: {why}{written}{free}. What was there before is as it was, and the unfinished "
        "file is removed. Make room, or choose another folder, and do the same again."
    )
