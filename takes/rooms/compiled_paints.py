"""The colors of `paints.py`, compiled: one point at a time."""

from __future__ import annotations

import math

import numba
import numpy as np

from .encoded import CHECKER, LANDSCAPE, PLAIN, STRIPES, TILES, WALLS, WINDOW, WOOD
from .paints import GRAIN_SCALES, NOISE_SIZE

# Divisions are not checked, and sums may be reordered; infinities keep their meaning.
compiled = numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})

_FINE, _FINE_WEIGHT = GRAIN_SCALES[0]
_COARSE, _COARSE_WEIGHT = GRAIN_SCALES[1]


@compiled
def _lattice(value: float, scale: int) -> int:
    return math.floor(np.float32(value * np.float32(scale))) % NOISE_SIZE


@compiled
def _grain(noise: np.ndarray, x: float, y: float, z: float, strength: float) -> float:
    fine = noise[_lattice(x, _FINE), _lattice(y, _FINE), _lattice(z, _FINE)]
    coarse = noise[_lattice(x, _COARSE), _lattice(y, _COARSE), _lattice(z, _COARSE)]
    return 1.0 + strength * (_FINE_WEIGHT * fine + _COARSE_WEIGHT * coarse)


@compiled
def _mixed(row: np.ndarray, first: int, second: int, share: float, out: np.ndarray) -> None:
    for channel in range(3):
        out[channel] = row[first + channel] + share * (row[second + channel] - row[first + channel])


@compiled
def _wall_part(row: np.ndarray, point: np.ndarray) -> int:
    """Return the paint of a point on the inside of a room; see `Walls`."""
    on_floor, low = point[1] > row[1] - 1e-3, point[1] > row[1] - 0.09
    if on_floor:
        part = 4
    elif low:
        part = 8
    elif point[0] < -row[0] + 1e-3:
        part = 5
    elif point[2] > row[2] - 1e-3 and point[1] > -row[3]:
        part = 6
    else:
        part = 7
    return int(row[part])


@compiled
def _landscape(row: np.ndarray, x: float, height: float, out: np.ndarray) -> None:
    _mixed(row, 0, 3, (height + 0.26) / 0.5, out)
    for base, wave, color in ((0.02, 9.0, 6), (-0.08, 14.0, 9)):
        if height < base + 0.05 * math.sin(wave * x + base * 30):
            _mixed(row, color, color, 0.0, out)
    if (x - 0.14) ** 2 + (height - 0.12) ** 2 < 0.045**2:
        _mixed(row, 12, 12, 0.0, out)
    if abs(x) > row[18] - 0.025 or abs(height) > row[19] - 0.025:
        _mixed(row, 15, 15, 0.0, out)


@compiled
def _window(row: np.ndarray, height: float, z: float, out: np.ndarray) -> None:
    if height < -0.16 + 0.05 * math.sin(11 * z) + 0.02 * math.sin(37 * z):
        _mixed(row, 6, 6, 0.0, out)
    else:
        _mixed(row, 0, 3, (height + 0.43) / 0.86, out)
    for channel in range(3):
        out[channel] *= 1.25
    if abs(z) < 0.016 or abs(height - 0.08) < 0.016:
        _mixed(row, 9, 9, 0.0, out)


@compiled
def paint(
    kinds: np.ndarray, rows: np.ndarray, noise: np.ndarray, index: int, point: np.ndarray, out: np.ndarray
) -> None:
    """Write the color of a point [3] of a shape's frame into `out` [3]."""
    if kinds[index] == WALLS:
        index = _wall_part(rows[index], point)
    kind, row = kinds[index], rows[index]
    x, y, z = point[0], point[1], point[2]
    strength = 0.0
    if kind == PLAIN:
        _mixed(row, 0, 0, 0.0, out)
        strength = row[3]
    elif kind == CHECKER:
        number = 0.0
        for axis in range(3):
            number += math.floor(point[axis] / row[7] + np.float32(1e-3))
        _mixed(row, 0, 4, number % 2, out)
        strength = row[3]
    elif kind == STRIPES:
        _mixed(row, 0, 4, math.floor(point[int(row[8])] / row[7] + np.float32(1e-3)) % 2, out)
        strength = row[3]
    elif kind == WOOD:
        axis = int(row[4])
        position = point[axis] / row[3]
        number = math.floor(position)
        tone = (0.86 + 0.22 * ((number * 0.618034) % 1)) * (0.55 if position - number < 0.03 else 1.0)
        for channel in range(3):
            out[channel] = row[channel] * tone
        x, y, z = x * np.float32(0.12), y * np.float32(0.12), z * np.float32(0.12)
        x, y, z = (point[0] if axis == 0 else x), (point[1] if axis == 1 else y), (point[2] if axis == 2 else z)
        strength = 0.16
    elif kind == TILES:
        first, second = point[int(row[7])] / row[6] + 0.5, point[int(row[8])] / row[6] + 0.5
        column, line = math.floor(first), math.floor(second)
        tone = 0.94 + 0.12 * ((column * 0.618034 + line * 0.414214) % 1)
        if max(abs(first - column - 0.5), abs(second - line - 0.5)) > 0.475:
            _mixed(row, 3, 3, 0.0, out)
        else:
            for channel in range(3):
                out[channel] = row[channel] * tone
        strength = 0.05
    elif kind == LANDSCAPE:
        _landscape(row, x, -y, out)
    elif kind == WINDOW:
        _window(row, -y, z, out)
    if strength > 0:
        grain = _grain(noise, x, y, z, strength)
        for channel in range(3):
            out[channel] *= grain
