"""Looking at files and folders, where whatever cannot be looked at counts as not there.

`Path.is_file` and its like raise where a folder may not be entered, a name is too long or a network mount is gone: one
such folder among hundreds would take down whoever makes a list. These functions never raise. What opens a file still
says what is wrong with it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath

# Null bytes and letters that the file system cannot hold are ValueErrors; links in a circle were RuntimeErrors.
NOT_THERE = (OSError, ValueError, RuntimeError)

AnyPath = str | os.PathLike[str]


def is_file(path: AnyPath) -> bool:
    """Whether a file lies there, links followed. A FIFO or a device, which may block for ever, is none."""
    return os.path.isfile(path)


def is_folder(path: AnyPath) -> bool:
    """Whether a folder lies there, links followed."""
    return os.path.isdir(path)


def is_there(path: AnyPath) -> bool:
    """Whether anything lies there, links followed."""
    return os.path.exists(path)


def entries(folder: AnyPath) -> list[Path]:
    """Return what lies in a folder, by name; nothing where it cannot be read."""
    try:
        return [Path(folder) / name for name in sorted(os.listdir(folder))]
    except NOT_THERE:
        return []


def files_in(folder: AnyPath, pattern: str) -> list[Path]:
    """Return the files of a folder whose names match a pattern such as `*.npy`, by name."""
    return [path for path in entries(folder) if PurePath(path.name).match(pattern) and is_file(path)]


def size_of(path: AnyPath) -> int:
    """Return the bytes of a file; 0 where there is none."""
    status = _status(path)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0


def stamp(path: AnyPath) -> str:
    """Return a text that changes when a file does: its path, time and size; of one that is not there the path alone."""
    status = _status(path)
    return f"{path}" if status is None else f"{path}:{status.st_mtime_ns}:{status.st_size}"


def real_path(path: AnyPath) -> Path:
    """Return a path with its links followed, as far as they can be."""
    try:
        return Path(path).resolve()
    except NOT_THERE:
        return Path(path).absolute()


def _status(path: AnyPath) -> os.stat_result | None:
    try:
        return os.stat(path)
    except NOT_THERE:
        return None
