"""A random figure and what it does at its table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from ..example.figure import END, RADIUS, RESTING, START, movement
from ..rooms.figure import Look
from ..rooms.movement import Movement
from ..rooms.paints import Color, Paint, Plain
from ..rooms.shapes import Point
from . import palette
from .table import PLATE_RADIUS, Place

_HANDS_APART = 0.05  # metres, right and ahead: how far hands and fruit are off the example's
_HAND = 0.09  # metres: how far a hand reaches around its palm

# Of red, green and blue from 0 to 1: arms of a color nearer to the table's than this are lost before it in 128 pixels.
_STANDS_OUT = 0.25


@dataclass(frozen=True)
class Work:
    """A movement with the places on the table that it needs.

    Attributes:
        movement: what the figure does.
        plate: where the plate stands: right and ahead, metres.
        places: what must stay free.
    """

    movement: Movement
    plate: tuple[float, float]
    places: tuple[Place, ...]


def any_look(random: Random, table: Color) -> Look:
    """Return how a figure is dressed: hands and forearms stand out from a table of this color."""
    while True:
        look = _look(random)
        forearm = look.shirt[0] if look.long_sleeves else look.skin
        if min(math.dist(look.skin, table), math.dist(forearm, table)) > _STANDS_OUT:
            return look


def _look(random: Random) -> Look:
    shirt = palette.thing(random)
    return Look(
        skin=palette.skin(random),
        hair=palette.hair(random),
        shirt=(shirt, palette.thing(random)),
        jeans=palette.varied(random, random.choice(((0.20, 0.24, 0.36), (0.30, 0.28, 0.26), (0.16, 0.16, 0.18)))),
        shoes=palette.varied(random, (0.28, 0.22, 0.20)),
        long_sleeves=random.random() < 0.4,
        stature=random.uniform(0.97, 1.03),
    )


def any_work(random: Random) -> Work:
    """Return what a figure does: the example's movement, between other places and with another fruit."""
    start, end, resting = (_beside(random, place) for place in (START, END, RESTING))
    reaches = ((start, RADIUS), (end, PLATE_RADIUS), (resting, _HAND))
    places = tuple((x, z, reach) for (x, _, z), reach in reaches)
    return Work(movement(start, end, resting, any_fruit(random)), (end[0], end[2]), places)


def any_fruit(random: Random) -> Paint:
    """Return the paint of what a figure moves."""
    return Plain(palette.thing(random), 0.07)


def _beside(random: Random, place: Point) -> Point:
    """Return a place as high as another one and near it."""
    x, height, z = place
    return x + random.uniform(-_HANDS_APART, _HANDS_APART), height, z + random.uniform(-_HANDS_APART, _HANDS_APART)
