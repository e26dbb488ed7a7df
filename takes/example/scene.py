"""The still part of the example scene: a kitchen-like room and a laid table.

The room has the pack's axes (x right, y down, z forward) with the floor at y = 0; `_at` takes heights upwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..rooms.paints import Checker, Landscape, Paint, Plain, Stripes, Tiles, Walls, Window, Wood
from ..rooms.shapes import UP, Ball, Box, Cylinder, Point, Shape, axes_turned

TABLE_HEIGHT = 0.92  # metres
TABLE_CENTER = (0.05, 0.60)  # right and ahead, metres
TABLE_HALF = (0.85, 0.40)  # half its width and depth, metres

_ROOM_HEIGHT = 2.6
TABLE_TOP = Wood((0.70, 0.52, 0.35), 0.16, axis=2)


def static_shapes() -> list[Shape]:
    """Return the room with all that stands still in it."""
    return [*empty_room(), *_laid_table()]


def empty_room() -> list[Shape]:
    """Return the room, its walls first, with the table and the furniture, and nothing on the table."""
    return [*_room(), *_table(), *_furniture()]


def _room() -> list[Shape]:
    half = (2.6, _ROOM_HEIGHT / 2, 2.5)
    walls = Box(
        origin=_at(0, _ROOM_HEIGHT / 2, 0.2),
        half_size=half,
        inside_out=True,
        paint=_room_paint(half),
    )
    rug = Box(
        origin=_at(-0.1, 0.004, 0.1),
        half_size=(1.25, 0.004, 0.85),
        paint=Checker((0.55, 0.27, 0.24), (0.72, 0.53, 0.42), 0.14),
    )
    return [walls, rug]


def _room_paint(half: Point) -> Paint:
    return Walls(
        half,
        floor=Wood((0.66, 0.49, 0.34), 0.14, axis=0),
        left=Stripes((0.66, 0.72, 0.66), (0.71, 0.76, 0.69), 0.11, axis=2, grain=0.03),
        far=Tiles((0.72, 0.80, 0.79), (0.52, 0.57, 0.57), 0.15, (0, 1)),
        plaster=Plain((0.83, 0.81, 0.75), 0.03),
        skirting=Plain((0.90, 0.89, 0.85), 0.01),
    )


def _table() -> list[Shape]:
    (x, z), (half_width, half_depth) = TABLE_CENTER, TABLE_HALF
    top = Box(
        origin=_at(x, TABLE_HEIGHT - 0.02, z),
        half_size=(half_width, 0.02, half_depth),
        paint=TABLE_TOP,
    )
    legs = [
        Box(origin=_at(x, 0.45, z), half_size=(0.03, 0.45, 0.03), paint=Plain((0.52, 0.38, 0.26)))
        for x in (-0.74, 0.84)
        for z in (0.26, 0.94)
    ]
    return [top, *legs]


def _laid_table() -> list[Shape]:
    return [
        _standing_cylinder(0.36, 0.46, 0.012, 0.115, Plain((0.93, 0.92, 0.88), 0.02)),  # plate
        _standing_cylinder(0.36, 0.46, 0.014, 0.080, Plain((0.55, 0.68, 0.76), 0.02)),  # its painted middle
        _on_table(-0.13, 0.44, (0.13, 0.010, 0.09), 8, Wood((0.80, 0.62, 0.42), 0.045, axis=2)),  # board
        _on_table(-0.36, 0.68, (0.085, 0.115, 0.045), 24, Stripes((0.83, 0.36, 0.24), (0.93, 0.80, 0.52), 0.046, 1)),
        _on_table(-0.17, 0.80, (0.05, 0.075, 0.05), -18, Checker((0.25, 0.50, 0.47), (0.86, 0.85, 0.76), 0.034)),
        _on_table(0.66, 0.52, (0.11, 0.016, 0.15), -12, Plain((0.28, 0.36, 0.58))),  # two books
        _on_table(0.66, 0.52, (0.10, 0.030, 0.14), -4, Plain((0.71, 0.30, 0.33))),
        _standing_cylinder(-0.56, 0.46, 0.105, 0.042, Stripes((0.88, 0.88, 0.84), (0.34, 0.53, 0.70), 0.026, 2)),  # mug
        _standing_cylinder(0.16, 0.82, 0.17, 0.038, Plain((0.30, 0.50, 0.33))),  # bottle and its neck
        _standing_cylinder(0.16, 0.82, 0.25, 0.014, Plain((0.34, 0.54, 0.37))),
        _standing_cylinder(0.44, 0.76, 0.09, 0.095, Plain((0.62, 0.64, 0.66), 0.02)),  # pot and its lid
        _standing_cylinder(0.44, 0.76, 0.10, 0.075, Plain((0.40, 0.42, 0.45), 0.02)),
        Ball(origin=_at(0.44, TABLE_HEIGHT + 0.115, 0.76), radius=0.02, paint=Plain((0.20, 0.20, 0.22))),
        Ball(origin=_at(-0.44, TABLE_HEIGHT + 0.038, 0.36), radius=0.038, paint=Plain((0.62, 0.76, 0.30))),  # apples
        Ball(origin=_at(-0.36, TABLE_HEIGHT + 0.036, 0.33), radius=0.036, paint=Plain((0.80, 0.25, 0.22))),
    ]


def _furniture() -> list[Shape]:
    books = [
        Box(
            origin=_at(-0.78 + 0.062 * index, 1.60 + 0.012 * (index % 3), 2.56),
            half_size=(0.026, 0.13 + 0.012 * (index % 3), 0.09),
            paint=Plain(color),
        )
        for index, color in enumerate(
            [(0.72, 0.34, 0.28), (0.87, 0.72, 0.42), (0.32, 0.45, 0.58), (0.45, 0.60, 0.46), (0.60, 0.42, 0.55)] * 2
        )
    ]
    return [
        Box(origin=_at(-0.35, 1.44, 2.56), half_size=(0.75, 0.02, 0.14), paint=replace(TABLE_TOP, plank=0.1)),  # shelf
        *books,
        _standing(Cylinder, (0.12, 1.46, 2.56), length=0.16, radius=0.07, paint=Plain((0.80, 0.55, 0.42))),
        _standing(Ball, (0.12, 1.72, 2.56), radius=0.13, paint=Plain((0.33, 0.52, 0.31), 0.18)),  # a plant
        Box(  # cupboard at the far wall
            origin=_at(1.35, 0.45, 2.42),
            half_size=(0.75, 0.45, 0.28),
            paint=Stripes((0.46, 0.56, 0.60), (0.42, 0.51, 0.55), 0.5, 0),
        ),
        _standing(Cylinder, (1.1, 0.90, 2.40), length=0.24, radius=0.09, paint=Plain((0.85, 0.79, 0.66))),
        _standing(Cylinder, (1.5, 0.90, 2.38), length=0.14, radius=0.12, paint=Plain((0.70, 0.38, 0.32))),
        Box(origin=_at(0.75, 1.78, 2.69), half_size=(0.34, 0.26, 0.02), paint=Landscape()),
        Box(
            origin=_at(-2.58, 1.62, 0.9), half_size=(0.03, 0.48, 0.62), paint=Plain((0.93, 0.92, 0.88), 0.01)
        ),  # window
        Box(origin=_at(-2.57, 1.62, 0.9), half_size=(0.03, 0.43, 0.57), paint=Window()),
        Box(  # chest at the left wall
            origin=_at(-2.30, 0.38, 0.85),
            half_size=(0.28, 0.38, 0.8),
            paint=Stripes((0.74, 0.60, 0.46), (0.69, 0.55, 0.41), 0.253, 1),
        ),
        _standing(Cylinder, (-2.28, 0.76, 0.45), length=0.22, radius=0.10, paint=Plain((0.36, 0.50, 0.62))),
        _standing(Ball, (-2.28, 0.88, 1.25), radius=0.14, paint=Checker((0.86, 0.66, 0.34), (0.78, 0.46, 0.30), 0.07)),
        _standing(Cylinder, (-2.20, 0.0, -0.75), length=0.36, radius=0.17, paint=Plain((0.58, 0.36, 0.28))),
        _standing(Ball, (-2.20, 0.62, -0.75), radius=0.34, paint=Plain((0.28, 0.46, 0.27), 0.2)),  # a bush in a pot
        Box(origin=_at(0.55, 2.55, 0.75), half_size=(0.28, 0.03, 0.28), paint=Plain((0.97, 0.94, 0.86), 0.0)),  # lamp
    ]


def _at(x: float, height: float, z: float) -> Point:
    return (x, -height, z)


def _standing(kind: type[Shape], foot: Point, **values: Any) -> Shape:
    return kind(origin=_at(*foot), axes=UP, **values)


def _standing_cylinder(x: float, z: float, height: float, radius: float, paint: Paint) -> Shape:
    return _standing(Cylinder, (x, TABLE_HEIGHT, z), length=height, radius=radius, paint=paint)


def _on_table(x: float, z: float, half_size: Point, turn: float, paint: Paint) -> Shape:
    origin = _at(x, TABLE_HEIGHT + half_size[1], z)
    return Box(origin=origin, axes=axes_turned(turn), half_size=half_size, paint=paint)
