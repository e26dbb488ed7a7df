"""Files that a user names: kept inside one folder, and read without ever running what they hold."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ..common.paths import is_file, is_there, real_path, size_of

if TYPE_CHECKING:
    import numpy as np


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
        raise ValueError(f"Expected the name of a file or folder inside {base}, got an empty one.")
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


def load_array(path: str | os.PathLike[str], key: str = "depth") -> np.ndarray:
    """Read one array of numbers from an `.npy` or `.npz` file. Pickled files are refused unread.

    Args:
        path: the file.
        key: the array to take from an `.npz` that holds several; a lone array is taken whatever its name.

    Returns:
        The array with the type it was stored in (half precision included).

    Raises:
        ValueError: if the file is missing, torn, pickled or of another format, lacks the key, or holds no numbers.
    """
    arrays = load_arrays(path)
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if key not in arrays:
        raise ValueError(f"{path} holds the arrays {sorted(arrays)}; expected one named {key!r}, or a single array.")
    return arrays[key]


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of an `.npz`, or the one of an `.npy` under the name `array`; otherwise as `load_array`."""
    import numpy as np

    path = Path(path)
    check_file(path)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            arrays = {"array": content}
        else:
            with content:
                arrays = {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise ValueError(
                f"{path} holds pickled objects (or is not a NumPy file), which this pack refuses: a pickle can run "
                "code. Save plain numbers with numpy.save or numpy.savez."
            ) from error
        raise ValueError(f"{path} is truncated, corrupt or not a NumPy file ({error}). Copy it again.") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"The array {name!r} of {path} holds {array.dtype}; expected numbers.")
    return arrays


def load_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: if the file is missing, unreadable or no JSON.
    """
    path = Path(path)
    check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:  # ValueError covers broken UTF-8 too
        raise ValueError(f"{path} is not valid JSON or cannot be read ({error}). Fix it or copy it again.") from error
