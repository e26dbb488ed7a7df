"""A random room, by its number."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..example.room import EXO_FOV, EXO_PLACES, LAMP
from ..example.scene import TABLE_TOP, empty_room
from ..rooms.room import Scene
from .table import TABLE, laid, plate
from .variation import near, painter
from .work import any_look, any_work

_EYE_APART, _TARGET_APART = 0.15, 0.06  # metres, in every direction: how far a camera is off the example's
_SHADOW_SIZE = 512  # pixels: 2 cm on the table


def random_scene(number: int) -> Scene:
    """Return the room of a number: the example's kitchen painted and laid anew, with a figure that moves a fruit.

    Colors, what lies on the table, clothes and cameras vary, and the places between which the fruit moves; walls,
    furniture, table and light are the example's. Arms stand out from the table. No number gives the example itself.
    Rooms of any layout, or movements of any kind, were too wide a world for a network of the pocket model's size: it
    showed no hands.
    """
    random = Random(f"exo2ego room {number}")
    work, paint_of = any_work(random), painter(random)
    shapes = (
        *(replace(shape, paint=paint_of(shape.paint)) for shape in empty_room()),
        *plate(random, *work.plate, TABLE.height),
        *laid(random, TABLE, work.places),
    )
    return Scene(
        shapes=shapes,
        look=any_look(random, paint_of(TABLE_TOP).color),
        movement=work.movement,
        exo_places=tuple((near(random, eye, _EYE_APART), near(random, at, _TARGET_APART)) for eye, at in EXO_PLACES),
        exo_fov=EXO_FOV,
        lamp=LAMP,
        shadow_size=_SHADOW_SIZE,
    )
