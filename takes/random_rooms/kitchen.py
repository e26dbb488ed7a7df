"""The example room, painted and dressed anew: a world so narrow that a very small model can learn it from two views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any

from ..example.figure import movement
from ..example.room import example_scene
from ..rooms.paints import Color, Paint, Plain, Window, Wood
from ..rooms.room import Scene
from ..rooms.shapes import Point
from . import palette
from .work import any_look

_EYES_APART, _TARGETS_APART = 0.10, 0.04  # metres, in every direction: how far a camera is off the example's
_STATURE = 0.015  # share by which a figure is taller or smaller
_SHADOW_SIZE = 512  # pixels: 2 cm on the table


def random_kitchen(number: int) -> Scene:
    """Return the kitchen of a number: the example room in other colors.

    Layout, movement and what lies about are the example's. Paints, clothes and skin vary, cameras and eyes a little. No
    number gives the example itself.
    """
    random = Random(f"exo2ego kitchen {number}")
    scene = example_scene()
    paint_of = _painter(random)
    look = any_look(random)
    return replace(
        scene,
        shapes=tuple(replace(shape, paint=paint_of(shape.paint)) for shape in scene.shapes),
        look=replace(look, stature=1 + random.uniform(-_STATURE, _STATURE)),
        movement=replace(movement(), carried=replace(movement().carried, paint=Plain(palette.thing(random), 0.07))),
        exo_places=tuple(
            (_near(random, eye, _EYES_APART), _near(random, at, _TARGETS_APART)) for eye, at in scene.exo_places
        ),
        shadow_size=_SHADOW_SIZE,
    )


def _painter(random: Random) -> Callable[[Any], Any]:
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


def _near(random: Random, place: Point, apart: float) -> Point:
    x, y, z = (value + random.uniform(-apart, apart) for value in place)
    return x, y, z
