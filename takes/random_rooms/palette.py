"""The family's colors and materials: those of the example room, varied."""

from __future__ import annotations

from random import Random

from ..rooms.paints import Checker, Color, Paint, Plain, Stripes

_THINGS: tuple[Color, ...] = (
    *((0.83, 0.36, 0.24), (0.93, 0.80, 0.52), (0.25, 0.50, 0.47), (0.28, 0.36, 0.58), (0.71, 0.30, 0.33)),
    *((0.34, 0.53, 0.70), (0.30, 0.50, 0.33), (0.62, 0.76, 0.30), (0.94, 0.56, 0.16), (0.60, 0.42, 0.55)),
    *((0.80, 0.55, 0.42), (0.86, 0.85, 0.76), (0.40, 0.42, 0.45), (0.86, 0.66, 0.34), (0.45, 0.60, 0.46)),
)
_WOODS: tuple[Color, ...] = ((0.70, 0.52, 0.35), (0.66, 0.49, 0.34), (0.80, 0.62, 0.42), (0.52, 0.38, 0.26))
_WALLS: tuple[Color, ...] = (
    *((0.83, 0.81, 0.75), (0.66, 0.72, 0.66), (0.72, 0.80, 0.79), (0.80, 0.72, 0.62), (0.70, 0.74, 0.82)),
    *((0.84, 0.74, 0.70),),
)
_SKINS: tuple[Color, ...] = ((0.87, 0.66, 0.53), (0.93, 0.75, 0.63), (0.72, 0.51, 0.38), (0.48, 0.33, 0.25))
_HAIRS: tuple[Color, ...] = ((0.25, 0.17, 0.12), (0.12, 0.10, 0.10), (0.55, 0.40, 0.24), (0.42, 0.40, 0.39))


def varied(random: Random, color: Color, by: float = 0.06) -> Color:
    """Return a color of about the same kind, within [0.05, 0.97]."""
    brightness = random.uniform(-by, by)
    return tuple(min(0.97, max(0.05, channel + brightness + random.uniform(-by, by) / 2)) for channel in color)


def thing(random: Random) -> Color:
    """Return the color of something that stands about."""
    return varied(random, random.choice(_THINGS))


def wood(random: Random) -> Color:
    """Return a wood's color."""
    return varied(random, random.choice(_WOODS))


def wall(random: Random) -> Color:
    """Return a wall's color."""
    return varied(random, random.choice(_WALLS), 0.04)


def skin(random: Random) -> Color:
    """Return the color of a person's skin."""
    return varied(random, random.choice(_SKINS), 0.03)


def hair(random: Random) -> Color:
    """Return the color of a person's hair."""
    return varied(random, random.choice(_HAIRS), 0.04)


def patterned(random: Random, size: float) -> Paint:
    """Return the paint of a thing: plain, striped or checkered in steps of about `size` metres."""
    size *= random.uniform(0.8, 1.3)
    match random.randrange(4):
        case 0:
            return Stripes(thing(random), thing(random), size, axis=random.choice((1, 2)))
        case 1:
            return Checker(thing(random), thing(random), size)
        case _:
            return Plain(thing(random))
