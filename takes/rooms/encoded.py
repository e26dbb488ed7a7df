"""Shapes and paints as arrays, as the compiled ray caster reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .paints import Checker, Color, Landscape, Paint, Plain, Stripes, Tiles, Walls, Window, Wood
from .ray_caster import Occluder
from .shapes import Ball, Box, Capsule, Cylinder, Shape

# Kinds of shapes, and the columns of a shape's row.
ROOM, BOX, BALL, CAPSULE, CYLINDER = range(5)
ORIGIN, AXES, SIZE, CENTER, RADIUS, SHAPE_COLUMNS = 0, 3, 12, 15, 18, 19

# Kinds of paints; what the columns of each row hold is told where it is made, in `_PaintTable.row_of`.
PLAIN, CHECKER, STRIPES, WOOD, TILES, LANDSCAPE, WINDOW, WALLS = range(8)
PAINT_COLUMNS = 20


@dataclass(frozen=True)
class EncodedShapes:
    """N shapes.

    Attributes:
        kinds: int64 [N].
        rows: float32 [N, SHAPE_COLUMNS]: origin, axes (rows), size (half size of a box; radius and length of a rod),
            center and radius of the ball that holds the shape.
        paint_of: int64 [N], the row of each shape's paint.
        paint_kinds: int64 [M].
        paints: float32 [M, PAINT_COLUMNS].
    """

    kinds: np.ndarray
    rows: np.ndarray
    paint_of: np.ndarray
    paint_kinds: np.ndarray
    paints: np.ndarray


def encode(shapes: Sequence[Shape]) -> EncodedShapes:
    """Write shapes and their paints as arrays.

    Raises:
        TypeError: if there is a kind of shape or paint that the compiled ray caster does not know.
    """
    table = _PaintTable()
    kinds = np.empty(len(shapes), np.int64)
    rows = np.zeros((len(shapes), SHAPE_COLUMNS), np.float32)
    paint_of = np.empty(len(shapes), np.int64)
    for index, shape in enumerate(shapes):
        kinds[index], size = _kind_and_size(shape)
        center, radius = shape.bounding_ball()
        row = (*shape.origin, *shape.axes.flatten().tolist(), *size, *center.tolist(), radius)
        rows[index] = row
        paint_of[index] = table.add(shape.paint)
    return EncodedShapes(kinds, rows, paint_of, np.array(table.kinds, np.int64), np.array(table.rows, np.float32))


def encode_occluders(rods: Sequence[Occluder]) -> np.ndarray:
    """Write rods as float32 [N, 7]: start, end, radius."""
    return np.array([(*rod.start, *rod.end, rod.radius) for rod in rods], np.float32).reshape(-1, 7)


def _kind_and_size(shape: Shape) -> tuple[int, tuple[float, float, float]]:
    if isinstance(shape, Box):
        return (ROOM if shape.inside_out else BOX), shape.half_size
    if isinstance(shape, Ball):
        return BALL, (shape.radius, 0.0, 0.0)
    if isinstance(shape, Capsule):
        return CAPSULE, (shape.radius, shape.length, 0.0)
    if isinstance(shape, Cylinder):
        return CYLINDER, (shape.radius, shape.length, 0.0)
    raise TypeError(f"The compiled ray caster does not know {type(shape).__name__}. Add it here and in compiled.py.")


@dataclass
class _PaintTable:
    kinds: list[int] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)
    known: dict[Paint, int] = field(default_factory=dict)

    def add(self, paint: Paint) -> int:
        """Return the row of a paint, which is written once."""
        if paint not in self.known:
            kind, values = self.row_of(paint)
            self.known[paint] = len(self.rows)
            self.kinds.append(kind)
            self.rows.append((*values, *(0.0,) * (PAINT_COLUMNS - len(values))))
        return self.known[paint]

    def row_of(self, paint: Paint) -> tuple[int, tuple[float, ...]]:
        """Return a paint's kind and columns."""
        if isinstance(paint, Plain):
            return PLAIN, (*paint.color, paint.grain)
        if isinstance(paint, Checker):
            return CHECKER, (*paint.first, paint.grain, *paint.second, paint.size)
        if isinstance(paint, Stripes):
            return STRIPES, (*paint.first, paint.grain, *paint.second, paint.size, paint.axis)
        if isinstance(paint, Wood):
            return WOOD, (*paint.color, paint.plank, paint.axis)
        if isinstance(paint, Tiles):
            return TILES, (*paint.color, *paint.joint, paint.size, *paint.across)
        if isinstance(paint, Landscape):
            colors: tuple[Color, ...] = (paint.low_sky, paint.high_sky, paint.far_hills, paint.near_hills, paint.sun)
            numbers = [channel for color in colors for channel in color]  # 15
            return LANDSCAPE, (*numbers, *paint.frame, paint.half_width, paint.half_height)
        if isinstance(paint, Window):
            return WINDOW, (*paint.low_sky, *paint.high_sky, *paint.trees, *paint.bars)
        if isinstance(paint, Walls):
            parts = (paint.floor, paint.left, paint.far, paint.plaster, paint.skirting)
            return WALLS, (*paint.half_size, paint.far_height, *(self.add(part) for part in parts))
        raise TypeError(
            f"The compiled ray caster does not know {type(paint).__name__}. Add it here and in compiled_paints.py."
        )
