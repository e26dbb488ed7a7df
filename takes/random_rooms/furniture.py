"""The still part of a random room: walls and what stands at them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch

from ..rooms.paints import Checker, Landscape, Plain, Stripes, Walls, Window, Wood
from ..rooms.shapes import Ball, Box, Cylinder, Shape
from . import palette

# Third axis upwards, for what stands.
UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)


@dataclass(frozen=True)
class Extent:
    """How far a room reaches from the figure at its origin, metres: to each side, ahead, behind, and up."""

    side: float
    ahead: float
    behind: float
    height: float

    @classmethod
    def any(cls, random: Random) -> Extent:
        """Return a kitchen's."""
        uniform = random.uniform
        return cls(uniform(2.3, 2.8), uniform(2.4, 2.9), uniform(2.1, 2.6), uniform(2.5, 2.7))

    def holds(self, x: float, height: float, z: float, margin: float = 0.2) -> bool:
        """Tell whether a place lies inside, `margin` metres from all walls."""
        inside = abs(x) < self.side - margin and -self.behind + margin < z < self.ahead - margin
        return inside and height < self.height - margin


def furnished_room(random: Random, extent: Extent) -> list[Shape]:
    """Return walls, floor and ceiling, a rug, and furniture along the far and the left wall."""
    return [
        _walls(random, extent),
        *_rug(random),
        *(_shelf(random, extent) if random.random() < 0.75 else ()),
        *(_cupboard(random, extent) if random.random() < 0.85 else ()),
        *_picture(random, extent),
        *(_window(random, extent) if random.random() < 0.75 else ()),
        *(_chest(random, extent) if random.random() < 0.75 else ()),
        *(_plant(random, extent) if random.random() < 0.6 else ()),
    ]


def lamp_box(x: float, z: float, height: float) -> Box:
    """Return the lamp's housing below the ceiling."""
    return Box(origin=(x, -height, z), half_size=(0.28, 0.03, 0.28), paint=Plain((0.97, 0.94, 0.86), 0.0))


def _walls(random: Random, extent: Extent) -> Box:
    half = (extent.side, extent.height / 2, (extent.ahead + extent.behind) / 2)
    paint = Walls(
        half,
        floor=palette.flooring(random),
        left=palette.wall_covering(random, (2, 1)),
        far=palette.wall_covering(random, (0, 1)),
        plaster=Plain(palette.varied(random, (0.83, 0.81, 0.75), 0.05), 0.03),
        skirting=Plain((0.90, 0.89, 0.85), 0.01),
        far_height=random.choice((0.35, half[1])),  # tiles may end above the work top
    )
    middle = (0.0, -half[1], (extent.ahead - extent.behind) / 2)
    return Box(origin=middle, half_size=half, inside_out=True, paint=paint)


def _rug(random: Random) -> list[Shape]:
    if random.random() < 0.3:
        return []
    half = (random.uniform(0.8, 1.4), 0.004, random.uniform(0.6, 1.0))
    colors = palette.thing(random), palette.thing(random)
    size = random.uniform(0.1, 0.2)
    paint = Checker(*colors, size) if random.random() < 0.5 else Stripes(*colors, size, axis=random.choice((0, 2)))
    return [Box(origin=(random.uniform(-0.4, 0.4), -0.004, random.uniform(-0.1, 0.4)), half_size=half, paint=paint)]


def _shelf(random: Random, extent: Extent) -> list[Shape]:
    x, height, half = random.uniform(-0.9, 0.3), random.uniform(1.35, 1.55), random.uniform(0.5, 0.8)
    z, at = extent.ahead - 0.14, x - half + 0.06
    board = Box(origin=(x, -height, z), half_size=(half, 0.02, 0.14), paint=Wood(palette.wood(random), 0.1, axis=2))
    shapes: list[Shape] = [board]
    while at < x + half - 0.3:
        tall, thick = random.uniform(0.10, 0.16), random.uniform(0.02, 0.03)
        paint = Plain(palette.thing(random))
        shapes.append(Box(origin=(at, -height - 0.02 - tall, z), half_size=(thick, tall, 0.09), paint=paint))
        at += 2 * thick + random.uniform(0.004, 0.02)
    return [*shapes, *_vase(random, x + half - 0.13, height + 0.02, z)]


def _cupboard(random: Random, extent: Extent) -> list[Shape]:
    half, depth, top = random.uniform(0.5, 0.8), random.uniform(0.22, 0.3), random.uniform(0.82, 0.95)
    x, z, color = random.uniform(0.7, 1.4), extent.ahead - depth, palette.thing(random)
    paint = Stripes(color, palette.varied(random, color, 0.05), random.uniform(0.3, 0.5), axis=0)
    body = Box(origin=(x, -top / 2, z), half_size=(half, top / 2, depth), paint=paint)
    return [body, *_vase(random, x - half / 2, top, z), *_vase(random, x + half / 3, top, z)]


def _picture(random: Random, extent: Extent) -> list[Shape]:
    if random.random() < 0.3:
        return []
    half = (random.uniform(0.26, 0.38), random.uniform(0.2, 0.28))
    sky, hill = palette.varied(random, (0.52, 0.69, 0.80)), palette.varied(random, (0.45, 0.55, 0.48))
    paint = Landscape(*half, high_sky=sky, far_hills=hill, near_hills=palette.varied(random, hill, 0.1))
    at = (random.uniform(0.4, 1.3), -random.uniform(1.65, 1.85), extent.ahead - 0.01)
    return [Box(origin=at, half_size=(*half, 0.02), paint=paint)]


def _window(random: Random, extent: Extent) -> list[Shape]:
    height, z, half = -random.uniform(1.5, 1.7), random.uniform(0.3, 1.2), random.uniform(0.5, 0.65)
    frame = Plain((0.93, 0.92, 0.88), 0.01)
    return [
        Box(origin=(-extent.side + 0.02, height, z), half_size=(0.03, 0.48, half), paint=frame),
        Box(origin=(-extent.side + 0.03, height, z), half_size=(0.03, 0.43, half - 0.05), paint=Window()),
    ]


def _chest(random: Random, extent: Extent) -> list[Shape]:
    depth, top, half = random.uniform(0.22, 0.3), random.uniform(0.6, 0.8), random.uniform(0.5, 0.8)
    x, z, color = -extent.side + depth, random.uniform(0.6, 1.1), palette.wood(random)
    paint = Stripes(color, palette.varied(random, color, 0.05), top / 3, axis=1)
    body = Box(origin=(x, -top / 2, z), half_size=(depth, top / 2, half), paint=paint)
    return [body, *_vase(random, x, top, z - half / 2), *_vase(random, x, top, z + half / 2)]


def _plant(random: Random, extent: Extent) -> list[Shape]:
    x, z = -extent.side + 0.45, random.uniform(-1.1, -0.5)
    pot = _standing(x, z, 0.0, 0.36, 0.17, palette.thing(random))
    return [pot, Ball(origin=(x, -0.62, z), radius=random.uniform(0.26, 0.36), paint=palette.leaves(random))]


def _vase(random: Random, x: float, foot: float, z: float) -> list[Shape]:
    """Return what people put on furniture: a vase, a ball or a small plant, or nothing."""
    radius, tall = random.uniform(0.06, 0.12), random.uniform(0.14, 0.26)
    match random.randrange(4):
        case 0:
            return [_standing(x, z, foot, tall, radius, palette.thing(random))]
        case 1:
            return [Ball(origin=(x, -foot - radius, z), radius=radius, paint=palette.patterned(random, 0.06))]
        case 2:
            crown = Ball(origin=(x, -foot - tall - 0.08, z), radius=1.5 * radius, paint=palette.leaves(random))
            return [_standing(x, z, foot, tall, 0.7 * radius, palette.thing(random)), crown]
        case _:
            return []


def _standing(x: float, z: float, foot: float, tall: float, radius: float, color: tuple[float, float, float]) -> Shape:
    return Cylinder(origin=(x, -foot, z), axes=UP, length=tall, radius=radius, paint=Plain(color))
