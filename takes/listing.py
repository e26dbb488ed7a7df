"""Names of what lies in a folder, for lists that are made again and again: only what changed is read again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from .files import resolve_inside

Result = TypeVar("Result")

# Nanoseconds after which a changed time stamp is sure to differ from an earlier one on any file system (FAT: 2 s).
_SETTLED = 2_000_000_000
_MOST_FILES = 10_000


class Memo(Generic[Result]):
    """Reads a file or a folder, and reads it again only once its time stamp or size has changed.

    Args:
        read: makes the result of one path. What it raises is passed on, and nothing is kept.
    """

    def __init__(self, read: Callable[[Path], Result]) -> None:
        self._read = read
        self._kept: dict[Path, tuple[tuple[int, int], Result]] = {}

    def __call__(self, path: Path) -> Result:
        """Return the result for a path.

        Raises:
            OSError: if nothing is there, or it cannot be read.
        """
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        kept = self._kept.get(path)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        result = self._read(path)
        if time.time_ns() - status.st_mtime_ns > _SETTLED:
            self._kept[path] = (stamp, result)
        return result


def names_inside(root: Path, levels: int = 2) -> tuple[list[str], list[str]]:
    """List the files and the folders of `root`, `levels` deep.

    Links that lead out of `root` are left out, as `files.resolve_inside` refuses them.

    Returns:
        File names and folder names relative to `root`, with forward slashes, each sorted.
    """
    base = root.resolve()
    files: list[str] = []
    folders: list[str] = []
    pending = [""]
    for _ in range(levels):
        deeper: list[str] = []
        for prefix in pending:
            try:
                plain_files, plain_folders, links = _entries(root / prefix)
            except OSError:
                continue  # gone meanwhile, or not ours to read
            files += [prefix + name for name in plain_files]
            deeper += [prefix + name for name in plain_folders]
            for name in links:
                try:
                    target = resolve_inside(base, prefix + name)
                except ValueError:
                    continue  # it leads out, nowhere or in a circle
                (deeper if target.is_dir() else files).append(prefix + name)
        folders += deeper
        pending = [f"{name}/" for name in deeper]
    return sorted(files), sorted(folders)


def file_or_files_in(path: Path, suffix: str, name: str) -> list[Path]:
    """Return a file, or the files of a folder in the order of the numbers in their names: frame 10 comes after frame 9.

    Args:
        path: the file or the folder.
        suffix: of the files that count, such as `.json`.
        name: what the user called it, for messages.

    Raises:
        ValueError: if the file has another suffix, or the folder holds none with it, or too many.
    """
    if path.is_file():
        if path.suffix.lower() != suffix:
            raise ValueError(f"{name!r} is not a {suffix} file. Choose a {suffix} file, or a folder of them.")
        return [path]
    files = [entry for entry in path.iterdir() if entry.suffix.lower() == suffix and entry.is_file()]
    if not files:
        raise ValueError(f"The folder {name!r} contains no {suffix} file. Choose a folder with one file a frame.")
    if len(files) > _MOST_FILES:
        raise ValueError(f"The folder {name!r} holds {len(files):,} files; expected at most {_MOST_FILES:,}.")
    return sorted(files, key=_by_numbers)


def _by_numbers(path: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", path.name)], path.name


def _read_entries(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the names of a folder's files, folders and links; where a link leads may change without it."""
    files, folders, links = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            # Windows' junctions are links that `is_symlink` does not know; Python tells them apart from 3.12 on.
            if entry.is_symlink() or (hasattr(entry, "is_junction") and entry.is_junction()):
                links.append(entry.name)
            elif entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                files.append(entry.name)
    return tuple(files), tuple(folders), tuple(links)


_entries = Memo(_read_entries)
