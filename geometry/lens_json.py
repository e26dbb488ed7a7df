"""Lenses as JSON objects: `{"type": "pinhole" | "fisheye624", ...the lens' numbers in pixels}`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .lens import Fisheye624, Lens, Pinhole

_LENSES = {"pinhole": Pinhole, "fisheye624": Fisheye624}


def lens_to_json(lens: Lens) -> dict[str, Any]:
    """Return the JSON object of a lens; `lens_from_json` restores it exactly."""
    name = next(name for name, kind in _LENSES.items() if isinstance(lens, kind))
    return {"type": name, **asdict(lens)}


def lens_from_json(content: dict[str, Any]) -> Lens:
    """Make the lens of a JSON object.

    Raises:
        ValueError: if the type is unknown, or a number is not finite or no focal length.
        KeyError: if there is no "type".
        TypeError: if a number is missing, of another kind or not known.
    """
    values = dict(content)
    kind = values.pop("type")
    if kind not in _LENSES:
        raise ValueError(f"Expected a lens of type {' or '.join(_LENSES)}, got {kind!r}.")
    return _LENSES[kind](**values)
