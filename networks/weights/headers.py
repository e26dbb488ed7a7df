"""Read the header of a file of weights, and tell a whole file from a torn one. Weights themselves are never read.

A safetensors file is the length of its header (8 bytes, little-endian), the header (JSON: type, shape and place of each
tensor, and strings), then the tensors without a gap. So the header tells how long the whole file is.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...common.messages import gigabytes
from ...common.paths import is_file, is_there
from . import gguf

SUFFIXES = (".safetensors", ".sft", ".gguf")
# How zip archives and bare pickles start: what torch.save writes.
PICKLES = (b"PK\x03\x04", b"\x80")

# What browsers, download managers and tools put behind or before the name of a file that they have not finished.
_UNFINISHED = re.compile(
    r"(?P<name>.+?)\.(?:part|partial|crdownload|aria2|incomplete|download|opdownload|!ut|tmp)"
    r"|Unconfirmed \d+\.crdownload",
    re.IGNORECASE,
)
_LARGEST_HEADER = 100_000_000  # the format's own limit
_LARGEST_FILE = 2**63  # no file system has larger ones
_AGAIN = "Delete it and download it again"


class DamagedFileError(ValueError):
    """A file is not what its name says.

    Attributes:
        found: what it is.
        remedy: what to do.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


class Shaped(Protocol):
    """What has a shape: a tensor, or its entry in a header."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""


@dataclass(frozen=True)
class Entry:
    """A tensor as a header describes it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        tensors: by name.
        strings: what the header says beside: safetensors' `__metadata__`, or the texts of a GGUF.
        size: of the file in bytes.
    """

    tensors: Mapping[str, Entry]
    strings: Mapping[str, str]
    size: int


def unfinished_name(name: str) -> str | None:
    """Return which file a download in progress will become ("" where its name does not tell), None for any other."""
    match = _UNFINISHED.fullmatch(name)
    return None if match is None else match["name"] or ""


def read_header(path: Path) -> Header:
    """Read the header of a safetensors or GGUF file.

    Raises:
        DamagedFileError: if the file is torn, something else, or cannot be read.
    """
    if is_there(path) and not is_file(path):
        raise DamagedFileError("it is a folder, a pipe or a device, not a file", f"{_AGAIN}.")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(512)
            if start.startswith(gguf.MAGIC):
                file.seek(0)
                return _of_gguf(gguf.read(file), size)
            _check_start(start, size)
            length = struct.unpack("<Q", start[:8])[0]
            file.seek(8)
            text = file.read(length)
    except gguf.TornError as error:
        raise DamagedFileError(str(error), f"{_AGAIN}.") from error
    except OSError as error:
        raise DamagedFileError(
            f"it cannot be read ({error.strerror or error})", "Check the disk and the file's rights."
        ) from error
    return _of_safetensors(text, length, size)


def _of_safetensors(text: bytes, length: int, size: int) -> Header:
    if len(text) < length:
        raise DamagedFileError(
            f"it ends within its header, after {gigabytes(size)}", f"{_AGAIN}: it is half-downloaded."
        )
    try:
        header = json.loads(text)
        strings = header.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in strings.values()):
            raise ValueError("texts alone belong into __metadata__")
        tensors = {name: Entry(_sizes(value["shape"]), str(value["dtype"])) for name, value in header.items()}
        end = max((_sizes(value["data_offsets"])[1] for value in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, MemoryError) as error:
        raise DamagedFileError("its header is damaged", f"{_AGAIN}.") from error
    expected = 8 + length + end
    if size < expected:
        share = math.floor(100 * size / expected)
        raise DamagedFileError(
            f"it is half-downloaded: {gigabytes(size)} of {gigabytes(expected)} ({share}%)", f"{_AGAIN}, or resume it."
        )
    if size > expected:
        raise DamagedFileError(f"it is {size - expected:,} bytes longer than its header says", f"{_AGAIN}.")
    return Header(tensors, strings, size)


def _sizes(values: Any) -> tuple[int, ...]:
    """Return whole numbers from 0 on, as JSON may hold anything.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < _LARGEST_FILE for value in values):
        raise ValueError(f"{values!r:.40} are not sizes")
    return tuple(values)


def _of_gguf(found: gguf.GGUF, size: int) -> Header:
    if size < found.end:
        share = math.floor(100 * size / found.end)
        raise DamagedFileError(
            f"it is half-downloaded: {gigabytes(size)} of {gigabytes(found.end)} ({share}%)", f"{_AGAIN}, or resume it."
        )
    return Header({name: Entry(shape, kind) for name, (shape, kind) in found.tensors.items()}, found.strings, size)


def _check_start(start: bytes, size: int) -> None:
    """Tell what people have in the place of a safetensors file."""
    text = start.lstrip().lower()
    if size == 0:
        raise DamagedFileError("it is empty", f"{_AGAIN}.")
    if text.startswith(b"version https://git-lfs"):
        raise DamagedFileError(
            "it is a pointer of Git LFS, not the file itself",
            "Run `git lfs pull` in the folder that was cloned, or download the file from its page.",
        )
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise DamagedFileError(
            "it is a web page that was saved under this name",
            f"{_AGAIN} by the page's own download button, logged in where the page asks for it.",
        )
    if not any(start):
        raise DamagedFileError("it begins with nothing but zeros: space for a download that never came", f"{_AGAIN}.")
    if size < 8:
        raise DamagedFileError(f"it is {size} bytes short", f"{_AGAIN}.")
    length = struct.unpack("<Q", start[:8])[0]
    if start[8:9] == b"{" and length <= _LARGEST_HEADER:
        return
    if start.startswith(PICKLES):
        raise DamagedFileError(
            "it is a pickled file, which can run code, under a safetensors name; it was not opened",
            "Get the .safetensors file of the model's page instead.",
        )
    if size < 10_000 and start.isascii():
        words = start.decode("ascii").strip().splitlines()[0][:80]
        raise DamagedFileError(f"it is a text ({words!r}): an error message of the site", f"{_AGAIN} from its page.")
    raise DamagedFileError("it is not a safetensors file", f"{_AGAIN}, from the model's own page.")
