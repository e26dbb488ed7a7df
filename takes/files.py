"""Files that a user names: kept inside one folder, and read without ever running what they hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..common.cancel import cancel_point
from ..common.memory import require_memory
from ..common.messages import gigabytes, json_fault
from ..common.paths import is_file, is_there, real_path, size_of


def resolve_inside(root: str | os.PathLike[str], name: str) -> Path:
    """Turn a name that a user typed into a path inside `root`.

    Args:
        root: the folder that must hold the file, such as ComfyUI's input folder.
        name: a path relative to `root`, or an absolute one inside it.

    Returns:
        The real path. It exists.

    Raises:
        ValueError: if the name is empty, climbs with `..`, leads out of `root` (by itself or by a link), or if
            nothing is there.
    """
    base = Path(root).resolve()
    typed = name.strip()
    if not typed:
        raise ValueError(f"Expected the name of a file or folder inside {base}, got an empty one. Choose one.")
    if ".." in (*PurePosixPath(typed).parts, *PureWindowsPath(typed).parts) or "\0" in typed:
        raise ValueError(
            f"{name!r} points outside its folder. Move the file into {base} and give its path relative to that folder."
        )
    try:
        path = (base / typed).resolve()
        path.stat()
        exists = True
    except (FileNotFoundError, NotADirectoryError):
        exists = False
    except (OSError, RuntimeError, ValueError) as error:  # no right to look, a name too long, links in a circle
        why = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{name!r} cannot be looked up in {base} ({why}). Check the name, and whether ComfyUI may read its folder."
        ) from error
    if not path.is_relative_to(base):
        raise ValueError(
            f"{name!r} leads out of {base}. Copy the file into that folder (links that leave it are not followed)."
        )
    if not exists:
        raise ValueError(f"There is no {name!r} in {base}. Check the name, or copy the file there.")
    return path


def check_inside(root: str | os.PathLike[str], paths: Iterable[Path]) -> None:
    """Check that files lie inside `root`, their links followed.

    Raises:
        ValueError: for the first that does not; the message names the link and where it leads.
    """
    base = real_path(root)
    for path in paths:
        if is_there(path) and not real_path(path).is_relative_to(base):
            steps = (step for step in (*reversed(path.parents), path) if step.is_relative_to(base))
            link = next((step for step in steps if not real_path(step).is_relative_to(base)), path)
            raise ValueError(
                f"{path} is reached by the link {link}, which leads out of {base} (to {real_path(link)}). Such links "
                "are not followed: copy what it leads to in its place."
            )


def resolve_named(root: str | os.PathLike[str], text: str) -> tuple[Path, str | None]:
    """Turn `PATH`, or `PATH#NAME` for one of several things that lie in it, into a path inside `root` and the name.

    Raises:
        ValueError: as `resolve_inside`.
    """
    return split_named(text, lambda path: resolve_inside(root, path))


def split_named(text: str, find: Callable[[str], Path]) -> tuple[Path, str | None]:
    """Split `PATH`, or `PATH#NAME` for one of several things that lie in it.

    A `#` may belong to the path too: the longest path that is found counts.

    Args:
        text: what a user typed.
        find: turns a path into one that exists; raises ValueError if there is none.

    Returns:
        What was found, and the name.

    Raises:
        ValueError: of `find`, for the path before the last `#`.
    """
    marks = [place for place, letter in enumerate(text) if letter == "#"]
    errors = []
    for path, name in [(text, ""), *((text[:mark], text[mark + 1 :]) for mark in reversed(marks))]:
        try:
            return find(path), name.strip() or None
        except ValueError as error:
            errors.append(error)
    raise errors[1 if marks else 0]


# What to do about a file that another program wrote wrongly.
EXPORT_AGAIN = "Export it again, or choose another file."

# A clip of 4,097 frames with 20 people each takes 0.3 GB as JSON. Read, numbers and texts take some times as much.
_LARGEST_JSON = 10**9
_MEMORY_OF_JSON = 8


def check_file(path: str | os.PathLike[str]) -> None:
    """Check that a file lies there.

    Raises:
        ValueError: if there is none, or nobody may look.
    """
    if not is_file(path):
        raise ValueError(f"There is no file {path}. Check the name.")


def read_whole(path: str | os.PathLike[str], largest: int) -> bytes:
    """Return what a file holds.

    Raises:
        ValueError: if there is none, it cannot be read, or has more than `largest` bytes.
    """
    check_file(path)
    if (size := size_of(path)) > largest:
        raise ValueError(f"{path} has {size:,} bytes; expected at most {largest:,}. Is it the right file?")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}). Check the file's rights and the disk.") from error


def load_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: if the file is missing, unreadable or no JSON, or too large for the memory that is free.
    """
    path = Path(path)
    check_file(path)
    cancel_point()
    size = size_of(path)
    if size > _LARGEST_JSON:
        raise ValueError(
            f"{path} has {gigabytes(size)}, and a JSON file of at most {gigabytes(_LARGEST_JSON)} is read. Check that "
            "it is the right file, or cut it into shorter clips."
        )
    require_memory(_MEMORY_OF_JSON * size, f"Reading {path.name}", "Check that it is the right file, or cut it.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:  # ValueError covers broken UTF-8 too
        raise ValueError(
            f"{path} is not valid JSON or cannot be read ({json_fault(error)}). Fix it or copy it again."
        ) from error
