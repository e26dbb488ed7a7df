"""The colors of what rays meet, as `ray_caster.shade` and `darken_near` have them, compiled with numba."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .compiled_paints import compiled, paint
from .compiled_rays import to_local
from .encoded import AXES, BOX, CAPSULE, CYLINDER, ORIGIN, ROOM, SIZE
from .ray_caster import CONTACT_REACH, CONTACT_STRENGTH, SHADOW_OFFSET, SHADOW_SHIFTS


class CompiledLight(NamedTuple):
    """A `ray_caster.Light` as float32 arrays.

    Attributes:
        position, lamp, fill, fill_direction, above, below: [3] each.
        pose: from the room to the camera at the lamp [3, 4].
        lens: its focal lengths and center in pixels [4].
        shadows: its shadow map [H, W], metres.
    """

    position: np.ndarray
    lamp: np.ndarray
    fill: np.ndarray
    fill_direction: np.ndarray
    above: np.ndarray
    below: np.ndarray
    pose: np.ndarray
    lens: np.ndarray
    shadows: np.ndarray


@compiled
def _normal(kind: int, row: np.ndarray, point: np.ndarray, out: np.ndarray) -> None:
    """Write the outward normal at a point of a shape's frame into `out` [3], in that frame."""
    if kind in (ROOM, BOX):
        face, most = 0, -1.0
        for axis in range(3):
            scaled = abs(point[axis] / row[SIZE + axis])
            if scaled > most:
                face, most = axis, scaled
        out[:] = 0
        out[face] = (1.0 if point[face] > 0 else -1.0) * (-1.0 if kind == ROOM else 1.0)
        return
    radius, length = row[SIZE], row[SIZE + 1]
    out[0], out[1], out[2] = point[0] / radius, point[1] / radius, point[2] / radius
    if kind == CAPSULE:
        out[2] = (point[2] - min(max(point[2], 0.0), length)) / radius
    elif kind == CYLINDER:
        out[2] = 0
        below, above = -point[2], point[2] - length
        if max(below, above) > math.sqrt(point[0] ** 2 + point[1] ** 2) - radius:
            out[0], out[1], out[2] = 0, 0, (1.0 if above > below else -1.0)


# Points and vectors are three numbers each from here on: an array for each would cost more than the sums.


@compiled
def _unshadowed(light: CompiledLight, x: float, y: float, z: float, away: float) -> float:
    """Return the share of four neighboring pixels of the shadow map that do not hide the lamp from a point."""
    height, width = light.shadows.shape
    pose, lens = light.pose, light.lens
    ahead = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
    if ahead <= 0:
        return 1.0
    column = (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]) / ahead * lens[0] + lens[2]
    row = (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]) / ahead * lens[1] + lens[3]
    if not (1 < column < width - 1 and 1 < row < height - 1):
        return 1.0
    column, row, share = min(column, width - 2), min(row, height - 2), 0.0
    for shift_x, shift_y in SHADOW_SHIFTS:
        if away <= light.shadows[int(row + shift_y), int(column + shift_x)] + SHADOW_OFFSET:
            share += 0.25
    return share


@compiled
def _lit(light: CompiledLight, x: float, y: float, z: float, normal: np.ndarray, color: np.ndarray) -> None:
    """Multiply a color [3] by the light that falls on a surface point with an outward normal [3]."""
    up = 0.5 - 0.5 * normal[1]
    towards = light.fill_direction
    towards_fill = max(normal[0] * towards[0] + normal[1] * towards[1] + normal[2] * towards[2], 0.0)
    to_x, to_y, to_z = light.position[0] - x, light.position[1] - y, light.position[2] - z
    away = math.sqrt(to_x * to_x + to_y * to_y + to_z * to_z)
    facing, strength = (normal[0] * to_x + normal[1] * to_y + normal[2] * to_z) / away, 0.0
    if facing > 0:
        strength = facing * (2 / max(away, 0.8)) * _unshadowed(light, x, y, z, away)
    for k in range(3):
        around = light.below[k] + up * (light.above[k] - light.below[k])
        color[k] *= around + light.fill[k] * towards_fill + light.lamp[k] * strength


@compiled
def shade(
    kinds: np.ndarray,
    rows: np.ndarray,
    paint_of: np.ndarray,
    paint_kinds: np.ndarray,
    paints: np.ndarray,
    noise: np.ndarray,
    first: int,
    light: CompiledLight,
    origin: np.ndarray,
    rays: np.ndarray,
    distance: np.ndarray,
    shape: np.ndarray,
    color: np.ndarray,
    normals: np.ndarray,
) -> None:
    """Color what the rays meet of shapes `first` to `first + N`; other rays keep what `color` and `normals` hold.

    Args:
        kinds: the shapes' kinds; these and the next four are the fields of `EncodedShapes`.
        rows: their numbers.
        paint_of: their paints.
        paint_kinds: the paints' kinds.
        paints: the paints' numbers.
        noise: `paints.noise_table`.
        first: the number of the first shape.
        light: the lamp.
        origin: of all rays, float32 [3].
        rays: unit vectors in the world, float32 [H, W, 3].
        distance: metres, as `trace` fills it [H, W].
        shape: number of the shape, likewise.
        color: float32 [H, W, 3], written over.
        normals: float32 [H, W, 3], outward, written over.
    """
    local, normal = np.empty(3, np.float32), np.empty(3, np.float32)
    for y in range(rays.shape[0]):
        for x in range(rays.shape[1]):
            index = shape[y, x] - first
            if not 0 <= index < len(kinds):
                continue
            row = rows[index]
            away = distance[y, x]
            at_x = origin[0] + away * rays[y, x, 0]
            at_y = origin[1] + away * rays[y, x, 1]
            at_z = origin[2] + away * rays[y, x, 2]
            to_local(row, at_x - row[ORIGIN], at_y - row[ORIGIN + 1], at_z - row[ORIGIN + 2], local)
            _normal(kinds[index], row, local, normal)
            for k in range(3):
                in_world = normal[0] * row[AXES + k] + normal[1] * row[AXES + 3 + k] + normal[2] * row[AXES + 6 + k]
                normals[y, x, k] = in_world
            paint(paint_kinds, paints, noise, paint_of[index], local, color[y, x])
            _lit(light, at_x, at_y, at_z, normals[y, x], color[y, x])


@compiled
def darken_near(
    rods: np.ndarray,
    origin: np.ndarray,
    rays: np.ndarray,
    distance: np.ndarray,
    normals: np.ndarray,
    color: np.ndarray,
) -> None:
    """Darken `color` [H, W, 3] where rods [N, 7] come near: soft contact shadows."""
    for y in range(rays.shape[0]):
        for x in range(rays.shape[1]):
            away = min(distance[y, x], np.float32(1e3))
            at_x = origin[0] + away * rays[y, x, 0]
            at_y = origin[1] + away * rays[y, x, 1]
            at_z = origin[2] + away * rays[y, x, 2]
            for rod in rods:
                along_x, along_y, along_z = rod[3] - rod[0], rod[4] - rod[1], rod[5] - rod[2]
                to_x, to_y, to_z = at_x - rod[0], at_y - rod[1], at_z - rod[2]
                length = along_x * along_x + along_y * along_y + along_z * along_z
                share = (along_x * to_x + along_y * to_y + along_z * to_z) / max(length, 1e-9)
                share = min(max(share, 0.0), 1.0)
                to_x, to_y, to_z = along_x * share - to_x, along_y * share - to_y, along_z * share - to_z
                square = max(to_x * to_x + to_y * to_y + to_z * to_z, 1e-9)
                near = min(rod[6] * rod[6] / square - 1 / CONTACT_REACH**2, 1.0)
                if near > 0:
                    facing = normals[y, x, 0] * to_x + normals[y, x, 1] * to_y + normals[y, x, 2] * to_z
                    factor = 1 - CONTACT_STRENGTH * near * max(facing / math.sqrt(square), 0.0)
                    for k in range(3):
                        color[y, x, k] *= factor
