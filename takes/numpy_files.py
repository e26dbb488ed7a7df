"""Arrays of numbers in NumPy's files, `.npy` and `.npz`: read without ever running what they hold, whole or in part."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING

from ..common.cancel import cancel_point
from ..common.memory import NotEnoughMemoryError, require_memory
from .files import check_file

if TYPE_CHECKING:
    import numpy as np

_ZIP_START, _PICKLE_START = b"PK\x03\x04", b"\x80"
_PICKLED = (
    "{path} holds pickled objects, which this pack refuses: a pickle can run code. Save plain numbers with numpy.save "
    "or numpy.savez."
)
# What NumPy and the archive raise for broken files: headers are read as Python's own text.
_FAULTS = (ValueError, OSError, EOFError, RuntimeError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error)
_BYTES_AT_ONCE = 2**24  # unpacked within a tenth of a second
# The versions of the format, and NumPy's readers of their headers.
_NPY_HEADERS = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}


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
    with _numpy_file(path) as file, _archive(file) as archive:
        return _read_members(archive, path) if archive else {"array": _read_array(file, path, "array")}


def array_entries(
    path: str | os.PathLike[str], wanted: Sequence[int] | None = None, key: str = "depth"
) -> tuple[tuple[int, ...], np.dtype, Iterator[np.ndarray]]:
    """Read some entries along the first axis of one array; the others are passed over, and never held.

    Args:
        path: as `load_array`.
        wanted: numbers from 0, rising; None for none, where only the shape counts.
        key: as `load_array`.

    Returns:
        Shape and type of the whole array, and the entries, read one by one.

    Raises:
        ValueError: as `load_array`; while entries are read too.
    """
    path = Path(path)
    with _numpy_file(path) as file, _archive(file) as archive:
        member = None if archive is None else _member(archive, path, key)
        with _opened(file, archive, member) as stream:
            fortran, shape, dtype = _read_array_header(stream, path, member or "array")
    return shape, dtype, _entries(path, member, shape, dtype, fortran, wanted or ())


def _entries(
    path: Path, member: str | None, shape: tuple[int, ...], dtype: np.dtype, fortran: bool, wanted: Sequence[int]
) -> Iterator[np.ndarray]:
    if fortran:  # column by column: each entry lies all over the file
        whole = load_arrays(path)[member.removesuffix(".npy") if member else "array"]
        yield from (whole[index] for index in wanted)
        return
    size = math.prod(shape[1:]) * dtype.itemsize
    with _numpy_file(path) as file, _archive(file) as archive, _opened(file, archive, member) as stream:
        _read_array_header(stream, path, member or "array")
        start = stream.tell()
        for index in wanted:
            _require_memory(size, path, f"one entry of {list(shape)} {dtype}")
            place = start + index * size
            while archive and stream.tell() < place:  # unpacked on the way
                cancel_point()
                if not stream.read(min(_BYTES_AT_ONCE, place - stream.tell())):
                    break
            stream.seek(place)
            yield _read_numbers(stream, shape[1:], dtype, member or "array")


def _opened(file: IO[bytes], archive: zipfile.ZipFile | None, member: str | None) -> AbstractContextManager[IO[bytes]]:
    return archive.open(member) if archive and member else nullcontext(file)


def _member(archive: zipfile.ZipFile, path: Path, key: str) -> str:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    chosen = names[0] if len(names) == 1 else f"{key}.npy"
    if chosen not in names:
        known = sorted(name.removesuffix(".npy") for name in names)
        raise _RefusedError(
            f"{path} holds the arrays {known}; expected one named {key!r}, or a single one. Save it so."
        )
    return chosen


@contextmanager
def _numpy_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of NumPy's; what is wrong with it is told in a sentence."""
    check_file(path)
    try:
        with open(path, "rb") as file:
            if file.read(1) == _PICKLE_START:
                raise _RefusedError(_PICKLED.format(path=path))
            file.seek(0)
            yield file
    except _RefusedError as error:
        raise ValueError(str(error)) from error
    except NotEnoughMemoryError:
        raise
    except _FAULTS as error:
        raise ValueError(f"{path} is truncated, corrupt or not a NumPy file ({error}). Copy it again.") from error


@contextmanager
def _archive(file: IO[bytes]) -> Iterator[zipfile.ZipFile | None]:
    """Give the archive that a file of NumPy's is; None where it is a single array."""
    is_archive = file.read(4) == _ZIP_START
    file.seek(0)
    with zipfile.ZipFile(file) if is_archive else nullcontext() as archive:
        yield archive


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
    fortran, shape, dtype = _read_array_header(stream, path, what)
    _require_memory(math.prod(shape) * dtype.itemsize, path, f"{list(shape)} {dtype}")
    array = _read_numbers(stream, shape[::-1] if fortran else shape, dtype, what)
    return array.transpose() if fortran else array


def _read_numbers(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, what: str) -> np.ndarray:
    import numpy as np

    array = np.empty(math.prod(shape), dtype)
    rest = memoryview(array.view(np.uint8)) if array.nbytes else memoryview(b"")
    while rest:
        cancel_point()
        got = stream.readinto(rest[:_BYTES_AT_ONCE])
        if not got:
            raise EOFError(f"the array {what!r} ends {len(rest):,} bytes early")
        rest = rest[got:]
    return array.reshape(shape)
