"""Frame numbers, sizes and long lists as people write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Of a text that somebody gave, and of a whole number.
_MOST_SHOWN = 60
_MOST_DIGITS = 20


def frame_ranges(frames: Sequence[int]) -> str:
    """Write frame numbers in ascending order as text: "none", "4", "0-3, 7"."""
    ranges: list[list[int]] = []
    for frame in frames:
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1][1] = frame
        else:
            ranges.append([frame, frame])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges) or "none"


def gigabytes(size: float) -> str:
    """Return a number of bytes in GB (10^9), as file managers and download pages count."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def few(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def sentence(text: str) -> str:
    """Return a text that ends as a sentence does, so that another can follow it."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@contextmanager
def with_advice(advice: str) -> Iterator[None]:
    """Have a reader's errors end with what to do next, which what it calls cannot know. Also decorates the reader.

    Errors of a class of their own, such as those of memory, bring their advice themselves and pass as they are.

    Args:
        advice: a sentence.
    """
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise ValueError(f"{sentence(str(error))} {advice}") from error


def json_fault(error: Exception) -> str:
    """Return why a text could not be read as JSON, in plain words: of the errors that `json.loads` and files raise."""
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeError):
        return "no text in UTF-8"
    if isinstance(error, RecursionError):
        return "its brackets are nested too deeply"
    if isinstance(error, OSError):
        return (error.strerror or "it cannot be opened").lower()
    return "a number in it has too many digits" if "integer string conversion" in str(error) else str(error)


def arrived(value: Any) -> str:
    """Return in a few words what a value is, for "got ...": whatever its size, it stays short.

    Tensors and arrays are known by their shape and type, so that nothing need be imported for them.
    """
    kind = type(value).__name__
    if value is None:
        return "nothing (None)"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        # Python refuses to write out more than some thousand digits.
        return str(value) if abs(value) < 10**_MOST_DIGITS else f"a whole number of more than {_MOST_DIGITS} digits"
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "infinity", "-inf": "minus infinity"}.get(str(value), str(value))
    if isinstance(value, str):
        return f"the text {_cut(value)!r}" + (f"... of {len(value):,} characters" if len(value) > _MOST_SHOWN else "")
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if dtype is not None and isinstance(shape, tuple):
        what = "a tensor" if kind in ("Tensor", "Parameter") else f"an array ({kind})"
        return f"{what} {list(shape)} of {str(dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        keys = few([_cut(str(key)) for key in value]) if value else ""
        return f"a dictionary with the keys {keys}" if value else "an empty dictionary"
    if isinstance(value, list | tuple):
        first = f", the first {'None' if value[0] is None else 'a ' + _cut(type(value[0]).__name__)}" if value else ""
        return f"a {kind} of {len(value)}{first}"
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{article} {_cut(kind)}"


def _cut(text: str) -> str:
    return text[:_MOST_SHOWN]
