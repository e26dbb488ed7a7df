"""The example room, painted and dressed anew: a world so narrow that a very small model can learn it from two views."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..example.figure import movement
from ..example.room import example_scene
from ..example.scene import TABLE_TOP
from ..rooms.room import Scene
from .variation import near, painter
from .work import any_fruit, any_look

_EYES_APART, _TARGETS_APART = 0.10, 0.04  # metres, in every direction: how far a camera is off the example's
_STATURE = 0.015  # share by which a figure is taller or smaller
_SHADOW_SIZE = 512  # pixels: 2 cm on the table


def random_kitchen(number: int) -> Scene:
    """Return the kitchen of a number: the example room in other colors.

    Layout, movement and what lies about are the example's. Paints, clothes and skin vary, cameras and eyes a little;
    arms stand out from the table. No number gives the example itself.
    """
    random = Random(f"exo2ego kitchen {number}")
    scene = example_scene()
    paint_of = painter(random)
    shapes = tuple(replace(shape, paint=paint_of(shape.paint)) for shape in scene.shapes)
    look = any_look(random, paint_of(TABLE_TOP).color)
    return replace(
        scene,
        shapes=shapes,
        look=replace(look, stature=1 + random.uniform(-_STATURE, _STATURE)),
        movement=movement(paint=any_fruit(random)),
        exo_places=tuple(
            (near(random, eye, _EYES_APART), near(random, at, _TARGETS_APART)) for eye, at in scene.exo_places
        ),
        shadow_size=_SHADOW_SIZE,
    )
