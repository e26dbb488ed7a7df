"""Names of what lies in a folder, for lists that are made again and again: only what changed is read again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from ..common.paths import NOT_THERE, entries, files_in, is_file, is_folder, real_path
from ..common.safe_text import safe_logger
from .files import resolve_inside

_log = safe_logger(__name__)

Result = TypeVar("Result")

# Nanoseconds after which a changed time stamp is sure to differ from an earlier one on any file system (FAT: 2 s).
_SETTLED = 2_000_000_000
_MOST_FILES = 10_000

# Names of clips that are offered; others may be named.
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".mxf", ".wmv"),
    *(".flv", ".3gp", ".ogv", ".gif", ".apng"),
)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif")
# Of depth, the ones first that hold it best.
ARRAY_SUFFIXES = (".npy", ".npz")
DEPTH_SUFFIXES = (".exr", ".tif", ".tiff", ".npy", ".png", ".webp", ".bmp", ".jpg", ".jpeg")

# Folders that could not be read when they were last listed, and why.
_unreadable: dict[Path, str] = {}


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

    Links that lead out of `root` are left out, as `files.resolve_inside` refuses them, and so is what cannot be looked
    at; `unreadable_inside` names the folders that were left out so.

    Returns:
        File names and folder names relative to `root`, with forward slashes, each sorted.
    """
    base = real_path(root)
    files: list[str] = []
    folders: list[str] = []
    pending = [""]
    for _ in range(levels):
        deeper: list[str] = []
        for prefix in pending:
            plain_files, plain_folders, links = _entries_or_none(root / prefix)
            files += [prefix + name for name in plain_files]
            deeper += [prefix + name for name in plain_folders]
            for name in links:
                try:
                    target = resolve_inside(base, prefix + name)
                except ValueError:
                    continue  # it leads out, nowhere or in a circle
                if is_folder(target):
                    deeper.append(prefix + name)
                elif is_file(target):
                    files.append(prefix + name)
        folders += deeper
        pending = [f"{name}/" for name in deeper]
    return sorted(files), sorted(folders)


def unreadable_inside(root: Path) -> list[str]:
    """Return the folders that `names_inside` met last time and could not read, relative to `root`."""
    found = (path for path in _unreadable if path.is_relative_to(root))
    return sorted(path.relative_to(root).as_posix() for path in found)


def file_or_files_in(path: Path, suffix: str, name: str) -> list[Path]:
    """Return a file, or the files of a folder in the order of the numbers in their names: frame 10 comes after frame 9.

    Args:
        path: the file or the folder.
        suffix: of the files that count, such as `.json`.
        name: what the user called it, for messages.

    Raises:
        ValueError: if the file has another suffix, or the folder holds none with it, or too many.
    """
    if is_file(path):
        if path.suffix.lower() != suffix:
            raise ValueError(f"{name!r} is not a {suffix} file. Choose a {suffix} file, or a folder of them.")
        return [path]
    files = [entry for entry in files_in(path, "*") if entry.suffix.lower() == suffix]
    if not files:
        raise ValueError(f"The folder {name!r} contains no {suffix} file. Choose a folder with one file a frame.")
    if len(files) > _MOST_FILES:
        raise ValueError(f"The folder {name!r} holds {len(files):,} files; expected at most {_MOST_FILES:,}.")
    return sorted(files, key=_by_numbers)


def pictures_of(
    root: Path, text: str, find: Callable[[str], Path], suffixes: tuple[str, ...] = PICTURE_SUFFIXES
) -> list[Path] | None:
    """Return the files behind a name that may mean a video, a picture, a folder of pictures or a pattern of them.

    A pattern is a name below a folder with `*`, `?`, `####` or `%04d` in it. Of a folder all pictures count; they come
    in the order of the numbers in their names.

    Args:
        root: the folder below which names count, for messages.
        text: what the user called it.
        find: turns a path into one that exists; raises ValueError if there is none.
        suffixes: of the files in a folder that count.

    Returns:
        The pictures; None where it is a single file, which may be anything.

    Raises:
        ValueError: of `find`, or if there is no picture, or too many.
    """
    try:
        path = find(text)
    except ValueError:
        folder, _, pattern = text.strip().replace("\\", "/").rpartition("/")
        if not (matches := _pattern(pattern)):
            raise
        path = find(folder) if folder else root
        found = [entry for entry in entries(path) if matches(entry.name) and is_file(entry)]
        where = f"matches {text!r}"
    else:
        if is_file(path):
            return None
        found = [entry for entry in entries(path) if is_picture(entry.name, suffixes) and is_file(entry)]
        where = f"lies in the folder {text!r}"
    if not found:
        raise ValueError(
            f"No picture {where}. Expected one file a frame: {', '.join(suffixes)}. Choose another file, or a "
            "folder or pattern that has pictures."
        )
    if len(found) > _MOST_FILES:
        raise ValueError(f"{len(found):,} files are in {text!r}; expected at most {_MOST_FILES:,}. Name fewer.")
    return sorted(found, key=_by_numbers)


def depth_files_of(root: Path, text: str, find: Callable[[str], Path]) -> list[Path] | None:
    """Return the files behind a name of depth; otherwise as `pictures_of`.

    Of a folder with several kinds, those of the one count of which there are most: previews often lie beside depth.
    """
    found = pictures_of(root, text, find, DEPTH_SUFFIXES)
    if found is None or is_pattern(text, find):
        return found
    kinds = [path.suffix.lower() for path in found]
    most = max(DEPTH_SUFFIXES, key=kinds.count)
    return [path for path in found if path.suffix.lower() == most]


def is_pattern(text: str, find: Callable[[str], Path]) -> bool:
    """Whether a name means no folder that is there."""
    try:
        find(text)
    except ValueError:
        return True
    return False


def is_picture(name: str, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> bool:
    """Whether a file's name is that of a picture; hidden files, as some systems leave them, are none."""
    return not name.startswith(".") and name.lower().endswith(suffixes)


def is_video(name: str) -> bool:
    """Whether a file's name is that of a video."""
    return not name.startswith(".") and name.lower().endswith(VIDEO_SUFFIXES)


def _pattern(pattern: str) -> Callable[[str], object] | None:
    """Return what tells whether a name matches a pattern; None where it is none."""
    parts = re.split(r"(\*|\?|#+|%0?\d*d)", pattern)
    if len(parts) == 1:
        return None
    words = {"*": ".*", "?": "."}
    text = "".join(words.get(part, r"\d+") if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile(text + r"\Z", re.DOTALL).match


def _by_numbers(path: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", path.name)], path.name


def _entries_or_none(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what `_read_entries` does; of a folder that cannot be read nothing, which the log says once."""
    try:
        found = _entries(folder)
    except FileNotFoundError:
        found = ((), (), ())
    except NOT_THERE as error:
        if folder not in _unreadable:
            why = getattr(error, "strerror", None) or error
            _log.warning(
                "%s cannot be read (%s), so nothing in it is offered. Let ComfyUI read it, or move it out of the input "
                "folder.",
                folder,
                why,
            )
            _unreadable[folder] = str(why)
        return (), (), ()
    _unreadable.pop(folder, None)
    return found


def _read_entries(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the names of a folder's files, folders and links; where a link leads may change without it."""
    files, folders, links = [], [], []
    with os.scandir(folder) as found:
        for entry in found:
            # Windows' junctions are links that `is_symlink` does not know; Python tells them apart from 3.12 on.
            with suppress(OSError):  # of a mount that is gone, which has no kind
                if entry.is_symlink() or (hasattr(entry, "is_junction") and entry.is_junction()):
                    links.append(entry.name)
                elif entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    return tuple(files), tuple(folders), tuple(links)


_entries = Memo(_read_entries)
