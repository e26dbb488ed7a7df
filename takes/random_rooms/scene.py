"""A random room, by its number."""

from __future__ import annotations

from random import Random

from ..rooms.room import Scene
from ..rooms.shapes import Point
from .furniture import Extent, furnished_room, lamp_box
from .table import Table, laid, plate
from .work import any_look, any_work

_SHADOW_SIZE = 512  # pixels: 2 cm on the table

Place = tuple[Point, Point]


def random_scene(number: int) -> Scene:
    """Return the room of a number: a kitchen of the example's family, with a figure that moves a fruit.

    Layout, objects, colors, movement and cameras vary; materials, light and the figure's build are the example's. No
    number gives the example itself.
    """
    random = Random(f"exo2ego room {number}")
    extent, table = Extent.any(random), Table.any(random)
    work = any_work(random, table)
    lamp_x, lamp_z = random.uniform(-0.6, 0.6), random.uniform(0.4, 1.0)
    shapes = [
        *furnished_room(random, extent),
        *table.shapes(random),
        *(plate(random, *work.plate, table.height) if work.plate else ()),
        *laid(random, table, work.places),
        lamp_box(lamp_x, lamp_z, extent.height - 0.05),
    ]
    return Scene(
        shapes=tuple(shapes),
        look=any_look(random),
        movement=work.movement,
        exo_places=_exo_places(random, extent),
        exo_fov=random.uniform(60.0, 72.0),
        lamp=(lamp_x, 0.15 - extent.height, lamp_z),
        shadow_size=_SHADOW_SIZE,
    )


def _exo_places(random: Random, extent: Extent) -> tuple[Place, ...]:
    """Return four cameras around the table. The first one looks over a shoulder."""
    side = random.choice((1, 1, -1))
    quadrants = ((side, -1), (-side, -1), (-side, 1), (side, 1))
    return tuple(_exo_place(random, extent, *quadrant) for quadrant in quadrants)


def _exo_place(random: Random, extent: Extent, side: int, ahead: int) -> Place:
    while True:
        x, height = side * random.uniform(1.4, 2.2), random.uniform(1.6, 2.1)
        z = random.uniform(1.5, 2.2) if ahead > 0 else random.uniform(-1.2, -0.3)
        if extent.holds(x, height, z):
            break
    target = (-side * random.uniform(0.0, 0.3), random.uniform(0.9, 1.05), random.uniform(0.3, 0.75))
    return (x, -height, z), (target[0], -target[1], target[2])
