"""A random room, by its number."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..example.room import EXO_FOV, EXO_PLACES, LAMP
from ..example.scene import empty_room
from ..rooms.room import Scene
from .table import TABLE, laid, plate
from .variation import near, painter
from .work import any_look, any_work

_EYE_APART, _TARGET_APART = 0.25, 0.08  # metres, in every direction: how far a camera is off the example's
_SHADOW_SIZE = 512  # pixels: 2 cm on the table


def random_scene(number: int) -> Scene:
    """Return the room of a number: the example's kitchen painted and laid anew, with a figure that moves a fruit.

    Colors, what lies on the table, clothes, movement and cameras vary; walls, furniture, table and light are the
    example's. No number gives the example itself. Rooms of any layout were too wide a world for a network of the pocket
    model's size: it showed no hands.
    """
    random = Random(f"exo2ego room {number}")
    work, paint_of = any_work(random, TABLE), painter(random)
    return Scene(
        shapes=(
            *(replace(shape, paint=paint_of(shape.paint)) for shape in empty_room()),
            *(plate(random, *work.plate, TABLE.height) if work.plate else ()),
            *laid(random, TABLE, work.places),
        ),
        look=any_look(random),
        movement=work.movement,
        exo_places=tuple((near(random, eye, _EYE_APART), near(random, at, _TARGET_APART)) for eye, at in EXO_PLACES),
        exo_fov=EXO_FOV,
        lamp=LAMP,
        shadow_size=_SHADOW_SIZE,
    )
