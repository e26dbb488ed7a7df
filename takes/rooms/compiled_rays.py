"""What rays meet first, as `ray_caster.trace` finds it, compiled with numba.

The readable twin is its oracle: tests compare their images.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled_paints import compiled
from .encoded import AXES, BALL, BOX, CENTER, CYLINDER, ORIGIN, RADIUS, ROOM, SIZE
from .shapes import NEAREST

_TILE = 8  # rays a side


@compiled
def to_local(row: np.ndarray, x: float, y: float, z: float, out: np.ndarray) -> None:
    """Turn a world vector into a shape's frame."""
    for axis in range(3):
        out[axis] = row[AXES + 3 * axis] * x + row[AXES + 3 * axis + 1] * y + row[AXES + 3 * axis + 2] * z


@compiled
def _nearest_root(b: float, c: float) -> float:
    discriminant = b * b - c
    return -b - math.sqrt(discriminant) if discriminant >= 0 else math.inf


@compiled
def _meet_box(room: bool, row: np.ndarray, start: np.ndarray, direction: np.ndarray) -> float:
    enter, leave = -math.inf, math.inf
    for axis in range(3):
        inverse = 1 / (direction[axis] if direction[axis] != 0 else 1e-12)
        middle, reach = -start[axis] * inverse, row[SIZE + axis] * abs(inverse)
        enter, leave = max(enter, middle - reach), min(leave, middle + reach)
    if room:
        return leave
    return enter if enter < leave else math.inf


@compiled
def _meet_rod(flat: bool, row: np.ndarray, start: np.ndarray, direction: np.ndarray) -> float:
    radius, length = row[SIZE], row[SIZE + 1]
    square = max(direction[0] ** 2 + direction[1] ** 2, 1e-12)
    side = _nearest_root(
        (start[0] * direction[0] + start[1] * direction[1]) / square,
        (start[0] ** 2 + start[1] ** 2 - radius**2) / square,
    )
    nearest = math.inf
    if side < math.inf:
        height = start[2] + side * direction[2]
        if 0 <= height <= length:
            nearest = side
    for number in range(2):
        end = length if number else np.float32(0)
        if flat:
            cap = (end - start[2]) / (direction[2] if direction[2] != 0 else 1e-12)
            x, y = start[0] + cap * direction[0], start[1] + cap * direction[1]
            if x * x + y * y <= radius**2 and 0 < cap < nearest:
                nearest = cap
        else:
            z = start[2] - end
            along = start[0] * direction[0] + start[1] * direction[1] + z * direction[2]
            nearest = min(nearest, _nearest_root(along, start[0] ** 2 + start[1] ** 2 + z * z - radius**2))
    return nearest


@compiled
def _meet(kind: int, row: np.ndarray, start: np.ndarray, direction: np.ndarray) -> float:
    """Return the distance at which a ray of a shape's frame meets it; inf where it never does."""
    if kind in (ROOM, BOX):
        distance = _meet_box(kind == ROOM, row, start, direction)
    elif kind == BALL:
        b = start[0] * direction[0] + start[1] * direction[1] + start[2] * direction[2]
        distance = _nearest_root(b, start[0] ** 2 + start[1] ** 2 + start[2] ** 2 - row[SIZE] ** 2)
    else:
        distance = _meet_rod(kind == CYLINDER, row, start, direction)
    return distance if distance > NEAREST else math.inf


@compiled
def _tile_cone(rays: np.ndarray, top: int, left: int, axis: np.ndarray) -> float:
    """Write the middle direction of a tile into `axis` [3]; return the largest angle to one of its rays, radians."""
    bottom, right = min(top + _TILE, rays.shape[0]), min(left + _TILE, rays.shape[1])
    axis[:] = 0
    for y in range(top, bottom):
        for x in range(left, right):
            for k in range(3):
                axis[k] += rays[y, x, k]
    axis /= math.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
    cosine = 1.0
    for y in range(top, bottom):
        for x in range(left, right):
            cosine = min(cosine, rays[y, x, 0] * axis[0] + rays[y, x, 1] * axis[1] + rays[y, x, 2] * axis[2])
    return math.acos(max(-1.0, cosine))


@compiled
def trace(
    kinds: np.ndarray,
    rows: np.ndarray,
    first: int,
    origin: np.ndarray,
    rays: np.ndarray,
    distance: np.ndarray,
    shape: np.ndarray,
) -> None:
    """Find the first surface on every ray.

    Args:
        kinds: the shapes' kinds, see `EncodedShapes`.
        rows: their numbers, likewise.
        first: the number of the first of them.
        origin: of all rays, float32 [3].
        rays: unit vectors in the world, float32 [H, W, 3].
        distance: metres, float32 [H, W]; what is nearer is written over it (start with inf).
        shape: number of the shape, int64 [H, W] (start with -1).
    """
    starts = np.empty((len(kinds), 3), np.float32)
    for index in range(len(kinds)):
        offset = origin - rows[index, ORIGIN : ORIGIN + 3]
        to_local(rows[index], offset[0], offset[1], offset[2], starts[index])
    near = np.empty(len(kinds), np.int64)
    axis, direction = np.empty(3, np.float32), np.empty(3, np.float32)
    for top in range(0, rays.shape[0], _TILE):
        for left in range(0, rays.shape[1], _TILE):
            spread = _tile_cone(rays, top, left, axis)
            n_near = 0
            for index in range(len(kinds)):
                x, y, z = (
                    rows[index, CENTER] - origin[0],
                    rows[index, CENTER + 1] - origin[1],
                    rows[index, CENTER + 2] - origin[2],
                )
                away, radius = math.sqrt(x * x + y * y + z * z), rows[index, RADIUS]
                if away > radius:
                    cosine = (x * axis[0] + y * axis[1] + z * axis[2]) / away
                    if math.acos(min(1.0, max(-1.0, cosine))) > spread + math.asin(radius / away) + 1e-3:
                        continue
                near[n_near] = index
                n_near += 1
            for y in range(top, min(top + _TILE, rays.shape[0])):
                for x in range(left, min(left + _TILE, rays.shape[1])):
                    for number in range(n_near):
                        index = near[number]
                        to_local(rows[index], rays[y, x, 0], rays[y, x, 1], rays[y, x, 2], direction)
                        met = _meet(kinds[index], rows[index], starts[index], direction)
                        if met < distance[y, x]:
                            distance[y, x] = met
                            shape[y, x] = first + index
