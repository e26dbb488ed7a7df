"""How the example room becomes another one: other colors, and places that are a little off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any

from ..rooms.paints import Color, Paint, Window, Wood
from ..rooms.shapes import Point
from . import palette


def painter(random: Random) -> Callable[[Any], Any]:
    """Return what gives a paint other colors; what has one color before has one color after, as a table's legs do."""
    known: dict[Color, Color] = {}

    def other(color: Color, any_color: Callable[[Random], Color]) -> Color:
        if color not in known:
            about_the_same = random.random() < 0.5
            known[color] = palette.varied(random, color) if about_the_same else any_color(random)
        return known[color]

    def painted(paint: Paint, any_color: Callable[[Random], Color] = palette.thing) -> Paint:
        if isinstance(paint, Window):
            return paint  # the sky does not change with the kitchen
        if isinstance(paint, Wood):
            any_color = palette.wood
        changed: dict[str, Any] = {}
        for field in fields(paint):
            value = getattr(paint, field.name)
            if is_dataclass(value):
                changed[field.name] = painted(value, palette.wall)
            elif _is_color(field.name, value):
                changed[field.name] = other(value, any_color)
        return replace(paint, **changed)

    return painted


def _is_color(name: str, value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and name != "half_size"


def near(random: Random, place: Point, apart: float) -> Point:
    """Return a point that is up to `apart` metres off a place in every direction."""
    x, y, z = (value + random.uniform(-apart, apart) for value in place)
    return x, y, z
