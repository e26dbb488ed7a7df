"""A random figure and what it does at its table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from ..rooms.figure import Look
from ..rooms.movement import Carried, HandPath, KeyPose, Movement, palm_over
from ..rooms.paints import Plain
from ..rooms.shapes import Point
from . import palette
from .table import Place, Table

_PLATE = 0.014  # metres high


@dataclass(frozen=True)
class Work:
    """A movement with the places on the table that it needs.

    Attributes:
        movement: what the figure does.
        plate: where the plate stands, if there is one: right and ahead, metres.
        places: what must stay free.
    """

    movement: Movement
    plate: tuple[float, float] | None
    places: tuple[Place, ...]


def any_look(random: Random) -> Look:
    """Return how a figure is dressed."""
    shirt = palette.thing(random)
    return Look(
        skin=palette.skin(random),
        hair=palette.hair(random),
        shirt=(shirt, palette.thing(random)),
        jeans=palette.varied(random, random.choice(((0.20, 0.24, 0.36), (0.30, 0.28, 0.26), (0.16, 0.16, 0.18)))),
        shoes=palette.varied(random, (0.28, 0.22, 0.20)),
        long_sleeves=random.random() < 0.4,
        stature=random.uniform(0.95, 1.05),
    )


def any_work(random: Random, table: Table) -> Work:
    """Return what a figure does: one hand moves a fruit, the other rests or helps."""
    side, top, radius = random.choice((1, 1, -1)), table.height, random.uniform(0.034, 0.044)
    start, end = _two_places(random, side)
    on_plate = random.random() < 0.7
    first = (start[0], top + radius, start[1])
    last = (end[0], top + radius + (_PLATE if on_plate else 0.0), end[1])
    taken, put_down = random.uniform(0.12, 0.28), random.uniform(0.62, 0.85)
    working = _carrying(random, first, last, radius, taken, put_down, side)
    resting_at = (-side * random.uniform(0.10, 0.30), random.uniform(0.32, 0.46))
    resting = _resting(random, resting_at, top)
    carried = Carried(radius, Plain(palette.thing(random), 0.07), first, last, taken, put_down)
    movement = Movement(
        right=working if side > 0 else resting,
        left=resting if side > 0 else working,
        carried=carried,
        rest=(random.uniform(-0.12, 0.12), top, random.uniform(0.5, 0.72)),
        attention=(random.uniform(0.18, 0.32), random.uniform(0.18, 0.32)),
        works_left=side < 0,
    )
    reach = 0.115 if on_plate else radius
    return Work(movement, end if on_plate else None, ((*start, radius), (*end, reach), (*resting_at, 0.09)))


def _two_places(random: Random, side: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return two places (right, ahead) within a hand's reach, at least 18 cm apart."""
    while True:
        first, second = ((side * random.uniform(-0.05, 0.40), random.uniform(0.38, 0.62)) for _ in range(2))
        if math.dist(first, second) > 0.18:
            return first, second


def _carrying(
    random: Random, start: Point, end: Point, radius: float, taken: float, put_down: float, side: int
) -> HandPath:
    """Return the way of a palm that reaches, takes, carries in an arc, puts down and withdraws."""
    above, grip = palm_over(radius), random.uniform(0.65, 0.8)
    uniform = random.uniform
    half_way = tuple((a + b) / 2 for a, b in zip(start, end))
    return HandPath(
        (
            KeyPose(0.0, _add(start, (side * uniform(0.02, 0.12), uniform(0.08, 0.16), -uniform(0.08, 0.2))), 0.15),
            KeyPose(taken, _add(start, above), grip),
            KeyPose((taken + put_down) / 2, _add(half_way, (0.0, uniform(0.14, 0.24), -uniform(0.0, 0.1))), grip),
            KeyPose(put_down, _add(end, above), grip),
            KeyPose(1.0, _add(end, (side * uniform(0.02, 0.1), uniform(0.1, 0.18), -uniform(0.06, 0.16))), 0.1),
        )
    )


def _resting(random: Random, place: tuple[float, float], top: float) -> HandPath:
    """Return the way of a palm that lies on the table, or moves a little above it."""
    x, z = place
    drift = (random.uniform(0.0, 0.02), random.uniform(0.0, 0.015))
    first = KeyPose(0.0, (x, top + 0.05, z), random.uniform(0.1, 0.4))
    if random.random() < 0.6:
        return HandPath((first,), drift)
    moved = (x + random.uniform(-0.1, 0.1), top + random.uniform(0.06, 0.16), z + random.uniform(-0.05, 0.1))
    return HandPath((first, KeyPose(1.0, moved, random.uniform(0.1, 0.7))), drift)


def _add(first: Point, second: Point) -> Point:
    return tuple(a + b for a, b in zip(first, second))
