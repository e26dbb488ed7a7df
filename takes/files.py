"""Files that a user names: kept inside one folder, and read without ever running what they hold."""

from __future__ import annotations

import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any

from ..common.cancel import cancel_point
from ..common.memory import NotEnoughMemoryError, require_memory
from ..common.messages import gigabytes, json_fault
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

_ZIP_START, _PICKLE_START = b"PK\x03\x04", b"\x80"
_PICKLED = (
    "{path} holds pickled objects, which this pack refuses: a pickle can run code. Save plain numbers with numpy.save "
    "or numpy.savez."
)
# A clip of 4,097 frames with 20 people each takes 0.3 GB as JSON. Read, numbers and texts take some times as much.
_LARGEST_JSON = 10**9
_MEMORY_OF_JSON = 8
_BYTES_AT_ONCE = 2**24  # unpacked within a tenth of a second
# The versions of the format, and NumPy's readers of their headers.
_NPY_HEADERS = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}


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
        raise ValueError(
            f"{path} holds the arrays {sorted(arrays)}; expected one named {key!r}, or a single array. Save it so."
        )
    return arrays[key]


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of an `.npz`, or the one of an `.npy` under the name `array`; otherwise as `load_array`."""
    path = Path(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            if file.read(4) == _ZIP_START:
                with zipfile.ZipFile(file) as archive:
                    return _read_members(archive, path)
            file.seek(0)
            if file.read(1) == _PICKLE_START:
                raise _RefusedError(_PICKLED.format(path=path))
            file.seek(0)
            return {"array": _read_array(file, path, "array")}
    except _RefusedError as error:
        raise ValueError(str(error)) from error
    except NotEnoughMemoryError:
        raise
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated, corrupt or not a NumPy file ({error}). Copy it again.") from error


class _RefusedError(Exception):
    """A file that is whole and yet not taken; the message is for the user."""


def _read_members(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    if not members:
        raise _RefusedError(f"{path} holds no array (.npy) among its {len(archive.infolist())} files. Copy it again.")
    total = 0
    for member in members:
        with archive.open(member) as stream:
            _, shape, dtype = _read_array_header(stream, path, member.filename)
        total += math.prod(shape) * dtype.itemsize
    _require_memory(total, path, f"{len(members)} arrays")
    arrays = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        with archive.open(member) as stream:
            arrays[name] = _read_array(stream, path, name)
    return arrays


def _require_memory(size: int, path: Path, what: str) -> None:
    require_memory(
        size,
        f"{path.name} ({what})",
        "Check the file; if it is right, cut it into shorter clips or save it in half precision.",
    )


def _read_array_header(stream: IO[bytes], path: Path, what: str) -> tuple[bool, tuple[int, ...], np.dtype]:
    """Return whether an array in `.npy` form is stored column by column, its shape and its type, checked."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    if version not in _NPY_HEADERS:
        raise _RefusedError(f"{path} is a NumPy file of version {version}, which is not known. Save it again.")
    read_header = getattr(npy, _NPY_HEADERS[version])
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise _RefusedError(_PICKLED.format(path=path))
    if dtype.kind not in "fiub":
        raise _RefusedError(f"The array {what!r} of {path} holds {dtype}; expected numbers. Save it again.")
    if any(size < 0 for size in shape):
        raise ValueError(f"its header states the shape {shape}")
    return fortran, shape, dtype


def _read_array(stream: IO[bytes], path: Path, what: str) -> np.ndarray:
    """Read an array in `.npy` form: its header first, which tells how much memory the rest will take."""
    import numpy as np

    fortran, shape, dtype = _read_array_header(stream, path, what)
    count = math.prod(shape)
    _require_memory(count * dtype.itemsize, path, f"{list(shape)} {dtype}")
    array = np.empty(count, dtype)
    rest = memoryview(array.view(np.uint8)) if array.nbytes else memoryview(b"")
    while rest:
        cancel_point()
        got = stream.readinto(rest[:_BYTES_AT_ONCE])
        if not got:
            raise EOFError(f"the array {what!r} ends {len(rest):,} bytes early")
        rest = rest[got:]
    return array.reshape(shape[::-1]).transpose() if fortran else array.reshape(shape)


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
