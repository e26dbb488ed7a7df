"""The header of a GGUF file: texts, and names, shapes and places of the tensors (version 2 and 3, little-endian).

Layout: magic, version, number of tensors, number of pairs; the pairs (name, type, value); for each tensor its name,
axes (fastest first), type and place; then the data, aligned. ComfyUI-GGUF keeps shapes that the format cannot hold
(more than four axes) under `comfy.gguf.orig_shape.NAME`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

MAGIC = b"GGUF"

_ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
_ALIGNMENT = "general.alignment"
_USUAL_ALIGNMENT = 32
_LONGEST_TEXT = 10_000_000
_MOST_ENTRIES = 1_000_000
_MOST_AXES = 8  # GGUF's own are 4
_LARGEST_FILE = 2**63  # no file system has larger ones

_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9

# ggml's types: name, weights in a block, bytes of a block (ggml.h).
_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    28: ("F64", 1, 8),
    30: ("BF16", 1, 2),
}


class TornError(ValueError):
    """A GGUF file ends within its header, or its header is damaged."""


@dataclass(frozen=True)
class GGUF:
    """What a header says.

    Attributes:
        tensors: shape, slowest axis first as in torch, and type, by name.
        strings: the pairs that hold texts.
        end: length of the whole file in bytes, as far as the types are known here.
    """

    tensors: dict[str, tuple[tuple[int, ...], str]]
    strings: dict[str, str]
    end: int


def read(file: BinaryIO) -> GGUF:
    """Read the header.

    Raises:
        TornError: if it is not whole.
    """
    try:
        return _read(file)
    except TornError:
        raise
    except (struct.error, LookupError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise TornError("its GGUF header is truncated or of a version that is not known") from error


def _read(file: BinaryIO) -> GGUF:
    _, version, n_tensors, n_pairs = struct.unpack("<4sIQQ", file.read(24))
    if version not in (2, 3) or max(n_tensors, n_pairs) > _MOST_ENTRIES:
        raise TornError(f"its GGUF header is damaged, or of version {version}, which is not known")
    pairs = {}
    for _ in range(n_pairs):
        name = _text(file)
        pairs[name] = _value(file, _number(file, "<I"))
    tensors: dict[str, tuple[tuple[int, ...], str]] = {}
    end = 0
    for _ in range(n_tensors):
        name = _text(file)
        axes = [_number(file, "<Q") for _ in range(_at_most(_number(file, "<I"), _MOST_AXES))]
        kind, place = _number(file, "<I"), _number(file, "<Q")
        known, block, size = _TYPES.get(kind, (f"type {kind}", 1, 0))
        end = max(end, place + math.prod(axes) // block * size)
        shape = tuple(int(axis) for axis in pairs.get(f"{_ORIGINAL_SHAPE}{name}", reversed(axes)))
        tensors[name] = (shape, known)
    alignment = int(pairs.get(_ALIGNMENT, _USUAL_ALIGNMENT))
    data = math.ceil(file.tell() / alignment) * alignment
    _at_most(data + end, _LARGEST_FILE)
    strings = {name: value for name, value in pairs.items() if isinstance(value, str)}
    return GGUF(tensors, strings, data + end)


def _at_most(number: int, most: int) -> int:
    if not 0 <= number <= most:
        raise TornError("its GGUF header is damaged")
    return number


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    length = _at_most(_number(file, "<Q"), _LONGEST_TEXT)
    text = file.read(length)
    if len(text) < length:
        raise TornError("it ends within its GGUF header")
    return text.decode("utf-8")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind != _ARRAY:
        return _number(file, _NUMBERS[kind])
    inner, length = _number(file, "<I"), _at_most(_number(file, "<Q"), _LONGEST_TEXT)
    return [_value(file, inner) for _ in range(length)]
