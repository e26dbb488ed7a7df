"""The example scene's figure: it lifts an orange onto a plate."""

from __future__ import annotations

from ..rooms.figure import Look
from ..rooms.movement import Carried, HandPath, KeyPose, Movement, palm_over
from ..rooms.paints import Paint, Plain
from ..rooms.shapes import Point
from .scene import TABLE_HEIGHT

RADIUS = 0.040  # of the fruit, metres
START = (0.10, TABLE_HEIGHT + RADIUS, 0.60)
END = (0.36, TABLE_HEIGHT + 0.014 + RADIUS, 0.46)  # on a plate
RESTING = (-0.17, TABLE_HEIGHT + 0.05, 0.40)
_ORANGE = Plain((0.94, 0.56, 0.16), 0.07)
_TAKEN, _PUT_DOWN = 0.18, 0.74  # times

LOOK = Look(
    skin=(0.87, 0.66, 0.53),
    hair=(0.25, 0.17, 0.12),
    shirt=((0.23, 0.42, 0.55), (0.87, 0.88, 0.84)),
    jeans=(0.20, 0.24, 0.36),
)


def movement(start: Point = START, end: Point = END, resting: Point = RESTING, paint: Paint = _ORANGE) -> Movement:
    """Return what it does: the right hand reaches for a fruit, carries it over in an arc and withdraws.

    Args:
        start: the fruit's center before: (right, height, ahead) in metres.
        end: the same after.
        resting: where the left palm lies.
        paint: the fruit's.
    """
    above = palm_over(RADIUS)
    right = (
        KeyPose(0.0, _add(start, (0.08, 0.13, -0.14)), 0.15),
        KeyPose(_TAKEN, _add(start, above), 0.75),
        KeyPose(0.46, _add(start, (0.14, 0.20, -0.10)), 0.75),
        KeyPose(_PUT_DOWN, _add(end, above), 0.75),
        KeyPose(1.0, _add(end, (0.06, 0.15, -0.10)), 0.1),
    )
    left = HandPath((KeyPose(0.0, resting, 0.25),), drift=(0.015, 0.01))
    fruit = Carried(RADIUS, paint, start, end, _TAKEN, _PUT_DOWN)
    return Movement(HandPath(right), left, fruit, rest=(0.04, TABLE_HEIGHT, 0.62))


def _add(first: Point, second: Point) -> Point:
    return tuple(a + b for a, b in zip(first, second))
