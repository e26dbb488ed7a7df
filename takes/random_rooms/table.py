"""The example room's table, laid with what kitchens have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from ..example.scene import TABLE_CENTER, TABLE_HALF, TABLE_HEIGHT
from ..rooms.paints import Plain, Stripes, Wood
from ..rooms.shapes import UP, Ball, Box, Cylinder, Shape, axes_turned
from . import palette

Place = tuple[float, float, float]  # right, ahead, and how far it reaches around that point; metres

PLATE_RADIUS = 0.115  # metres

_MOST_TRIES = 20


@dataclass(frozen=True)
class Table:
    """A table's top: half its width and depth, its center and its height, metres."""

    half_width: float
    half_depth: float
    x: float
    z: float
    height: float


TABLE = Table(*TABLE_HALF, *TABLE_CENTER, TABLE_HEIGHT)


def laid(random: Random, table: Table, taken: Sequence[Place]) -> list[Shape]:
    """Return 6 to 11 things on a table, none on places that are taken or on another.

    Args:
        random: where the choices come from.
        table: the table.
        taken: where something lies already, or hands rest.
    """
    places, shapes = list(taken), []
    for _ in range(random.randint(6, 11)):
        reach, make = random.choice(_THINGS)
        place = _free_place(random, table, places, reach)
        if place is not None:
            places.append((*place, reach))
            shapes += make(random, *place, table.height)
    return shapes


def plate(random: Random, x: float, z: float, top: float) -> list[Shape]:
    """Return a plate with a painted middle, 14 mm high."""
    return [
        _standing(x, z, top, 0.012, PLATE_RADIUS, Plain((0.93, 0.92, 0.88), 0.02)),
        _standing(x, z, top, 0.014, 0.080, Plain(palette.thing(random), 0.02)),
    ]


def _free_place(random: Random, table: Table, places: Sequence[Place], reach: float) -> tuple[float, float] | None:
    for _ in range(_MOST_TRIES):
        x = table.x + random.uniform(-1, 1) * (table.half_width - reach)
        z = table.z + random.uniform(-1, 1) * max(0.0, table.half_depth - reach)
        if all(math.hypot(x - other_x, z - other_z) > reach + other for other_x, other_z, other in places):
            return x, z
    return None


def _board(random: Random, x: float, z: float, top: float) -> list[Shape]:
    paint = Wood(palette.wood(random), 0.045, axis=2)
    return [_lying(x, z, top, (random.uniform(0.10, 0.14), 0.010, random.uniform(0.07, 0.10)), random, paint, 20)]


def _box(random: Random, x: float, z: float, top: float) -> list[Shape]:
    half = (random.uniform(0.05, 0.09), random.uniform(0.06, 0.12), random.uniform(0.04, 0.06))
    return [_lying(x, z, top, half, random, palette.patterned(random, 0.045), 45)]


def _books(random: Random, x: float, z: float, top: float) -> list[Shape]:
    under = _lying(x, z, top, (0.11, 0.016, 0.15), random, Plain(palette.thing(random)), 30)
    return [under, _lying(x, z, top + 0.032, (0.10, 0.014, 0.14), random, Plain(palette.thing(random)), 30)]


def _mug(random: Random, x: float, z: float, top: float) -> list[Shape]:
    paint = Stripes((0.88, 0.88, 0.84), palette.thing(random), 0.026, axis=2)
    return [_standing(x, z, top, random.uniform(0.09, 0.12), 0.042, paint)]


def _bottle(random: Random, x: float, z: float, top: float) -> list[Shape]:
    color, tall = (
        palette.varied(random, random.choice(((0.30, 0.50, 0.33), (0.45, 0.30, 0.20)))),
        random.uniform(0.14, 0.2),
    )
    neck = _standing(x, z, top, tall + 0.08, 0.014, Plain(palette.varied(random, color)))
    return [_standing(x, z, top, tall, random.uniform(0.032, 0.042), Plain(color)), neck]


def _pot(random: Random, x: float, z: float, top: float) -> list[Shape]:
    color, radius = palette.varied(random, (0.62, 0.64, 0.66)), random.uniform(0.075, 0.1)
    lid = _standing(x, z, top, 0.10, 0.8 * radius, Plain((0.40, 0.42, 0.45), 0.02))
    knob = Ball(origin=(x, -top - 0.115, z), radius=0.02, paint=Plain((0.20, 0.20, 0.22)))
    return [_standing(x, z, top, 0.09, radius, Plain(color, 0.02)), lid, knob]


def _fruit(random: Random, x: float, z: float, top: float) -> list[Shape]:
    radius = random.uniform(0.032, 0.042)
    return [Ball(origin=(x, -top - radius, z), radius=radius, paint=Plain(palette.thing(random), 0.06))]


_THINGS: tuple[tuple[float, Callable[[Random, float, float, float], list[Shape]]], ...] = (
    *((0.12, plate), (0.15, _board), (0.10, _box), (0.17, _books), (0.05, _mug)),
    *((0.045, _bottle), (0.10, _pot), (0.045, _fruit), (0.045, _fruit)),
)


def _standing(x: float, z: float, foot: float, tall: float, radius: float, paint: Plain | Stripes) -> Shape:
    return Cylinder(origin=(x, -foot, z), axes=UP, length=tall, radius=radius, paint=paint)


def _lying(x: float, z: float, foot: float, half: tuple, random: Random, paint: object, most_turn: float) -> Shape:
    axes = axes_turned(random.uniform(-most_turn, most_turn))
    return Box(origin=(x, -foot - half[1], z), axes=axes, half_size=half, paint=paint)
