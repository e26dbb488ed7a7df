"""The moving part of the example scene: a figure that lifts an orange onto a plate.

It stands at the room's origin, looks along z and works on the table before it. Balls and rods make it up; its arms
follow its hands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .ray_caster import Occluder
from .scene import TABLE_HEIGHT
from .shapes import Ball, Capsule, Paint, Point, Shape, axes_along, plain, stripes

_SKIN = (0.87, 0.66, 0.53)
_SHIRT = ((0.23, 0.42, 0.55), (0.87, 0.88, 0.84))
_JEANS = (0.20, 0.24, 0.36)

_ORANGE_RADIUS = 0.040
_ORANGE_START = (0.10, TABLE_HEIGHT + _ORANGE_RADIUS, 0.60)
_ORANGE_END = (0.36, TABLE_HEIGHT + 0.014 + _ORANGE_RADIUS, 0.46)
_TAKEN, _PUT_DOWN = 0.18, 0.74  # times


@dataclass(frozen=True)
class Moment:
    """The figure at one time: everything that moves.

    Attributes:
        body: its shapes without the head, and what it carries.
        head: neck, head and hair, which the figure's own eyes do not see.
        occluders: rods of it that darken nearby surfaces.
        eye: the point between its eyes [3], metres in the room.
        gaze: the point it looks at [3].
        shoulders: its shoulder joints [2, 3], left and right.
        hips: its hip joints [2, 3], left and right.
    """

    body: tuple[Shape, ...]
    head: tuple[Shape, ...]
    occluders: tuple[Occluder, ...]
    eye: Tensor
    gaze: Tensor
    shoulders: Tensor
    hips: Tensor


def moment(time: float) -> Moment:
    """Return the figure at a time from 0 (the hand reaches for the orange) to 1 (it has left it on the plate)."""
    sway = 0.018 * math.sin(2 * math.pi * time)
    hips, chest, neck = _point(0.4 * sway, 0.98, -0.06), _point(0.7 * sway, 1.30, 0.03), _point(sway, 1.46, 0.07)
    skull = neck + _point(0.012 * math.sin(5 * time), 0.17, 0.045)
    right_palm, grip = _right_hand(time)
    left_palm = _point(-0.17 + 0.015 * math.sin(4 * time), TABLE_HEIGHT + 0.05, 0.40 + 0.01 * math.cos(5 * time))
    shoulders = torch.stack([chest + _point(0.19 * side, 0.07, 0.0) for side in (-1, 1)])
    right_arm, left_arm = _arm(shoulders[1], right_palm, 1), _arm(shoulders[0], left_palm, -1)
    right_hand, left_hand = _hand(right_palm, right_arm[1], 1, grip), _hand(left_palm, left_arm[1], -1, 0.25)
    orange = _orange(time, right_palm)
    orange_ball = Ball(origin=tuple(orange.tolist()), radius=_ORANGE_RADIUS, paint=plain((0.94, 0.56, 0.16), 0.07))
    shoes = _shoes()
    gaze = 0.275 * right_palm + 0.275 * orange + 0.45 * _point(0.04, TABLE_HEIGHT, 0.62)
    facing = torch.nn.functional.normalize(gaze - skull, dim=0)
    near_things = [*shoes, orange_ball, *right_arm, *left_arm, right_hand[0], left_hand[0]]
    return Moment(
        body=(
            *(*_torso(hips, chest), *_legs(hips), *shoes, orange_ball),
            *(*right_arm, *left_arm, *right_hand, *left_hand),
        ),
        head=tuple(_head(chest, neck, skull, facing)),
        occluders=tuple(_occluder(shape) for shape in near_things),
        eye=skull + 0.10 * facing + _point(0, 0.03, 0),
        gaze=gaze,
        shoulders=shoulders,
        hips=torch.stack([hips + _point(0.09 * side, -0.05, 0) for side in (-1, 1)]),
    )


def _torso(hips: Tensor, chest: Tensor) -> list[Shape]:
    return [
        _rod(hips, chest, 0.150, stripes(*_SHIRT, 0.05, axis=2)),
        _rod(chest + _point(-0.09, 0.03, 0), chest + _point(0.09, 0.03, 0), 0.118, plain(_SHIRT[0])),
        _rod(chest + _point(-0.16, 0.10, 0), chest + _point(0.16, 0.10, 0), 0.068, plain(_SHIRT[0])),
    ]


def _legs(hips: Tensor) -> list[Shape]:
    return [
        _rod(hips + _point(side * 0.09, -0.05, 0), _point(side * 0.11, 0.09, -0.03), 0.080, plain(_JEANS))
        for side in (-1, 1)
    ]


def _shoes() -> list[Shape]:
    leather = plain((0.28, 0.22, 0.20))
    return [_rod(_point(side * 0.11, 0.05, -0.06), _point(side * 0.13, 0.05, 0.12), 0.05, leather) for side in (-1, 1)]


def _head(chest: Tensor, neck: Tensor, skull: Tensor, facing: Tensor) -> list[Shape]:
    hair = skull - 0.030 * facing + _point(0, 0.028, 0)
    return [
        _rod(chest, neck + _point(0, 0.05, 0.01), 0.055, plain(_SKIN)),
        Ball(origin=tuple(skull.tolist()), radius=0.105, paint=plain(_SKIN)),
        Ball(origin=tuple(hair.tolist()), radius=0.108, paint=plain((0.25, 0.17, 0.12), 0.12)),
    ]


def _right_hand(time: float) -> tuple[Tensor, float]:
    """Return the right palm's place, and how far its fingers are closed (0 to 1)."""
    above = (0.0, _ORANGE_RADIUS + 0.030, -0.012)
    path = [
        (0.0, _add(_ORANGE_START, (0.08, 0.13, -0.14)), 0.15),
        (_TAKEN, _add(_ORANGE_START, above), 0.75),
        (0.46, _add(_ORANGE_START, (0.14, 0.20, -0.10)), 0.75),
        (_PUT_DOWN, _add(_ORANGE_END, above), 0.75),
        (1.0, _add(_ORANGE_END, (0.06, 0.15, -0.10)), 0.1),
    ]
    for (start, place, grip), (end, next_place, next_grip) in pairwise(path):
        if time <= end:
            share = (time - start) / (end - start)
            share = share * share * (3 - 2 * share)
            between = [a + share * (b - a) for a, b in zip(place, next_place)]
            return _point(*between), grip + share * (next_grip - grip)
    return _point(*path[-1][1]), path[-1][2]


def _orange(time: float, hand: Tensor) -> Tensor:
    if time <= _TAKEN:
        return _point(*_ORANGE_START)
    if time >= _PUT_DOWN:
        return _point(*_ORANGE_END)
    return hand - _point(0.0, _ORANGE_RADIUS + 0.030, -0.012)


def _arm(shoulder: Tensor, hand: Tensor, side: int) -> list[Shape]:
    """Return upper arm and forearm from a shoulder to just before a palm, with the elbow out and down."""
    upper, lower = 0.29, 0.27
    wrist = hand + 0.055 * torch.nn.functional.normalize(shoulder - hand, dim=0)
    along = wrist - shoulder
    distance = torch.linalg.vector_norm(along).clamp_max(upper + lower - 1e-3)
    direction = torch.nn.functional.normalize(along, dim=0)
    foot = (upper**2 - lower**2 + distance**2) / (2 * distance)  # of the elbow's height over shoulder-wrist
    outward = _point(0.75 * side, -0.55, -0.35)
    outward = torch.nn.functional.normalize(outward - (outward @ direction) * direction, dim=0)
    elbow = shoulder + foot * direction + (upper**2 - foot**2).clamp_min(0).sqrt() * outward
    return [_rod(shoulder, elbow, 0.052, plain(_SHIRT[0])), _rod(elbow, wrist, 0.037, plain(_SKIN))]


def _hand(palm: Tensor, forearm: Shape, side: int, grip: float) -> list[Shape]:
    """Return a palm, four fingers and a thumb; `grip` bends them from stretched (0) to closed (1)."""
    ahead = forearm.axes[2] * torch.tensor([1.0, 0.35, 1.0], dtype=torch.float64)
    ahead = torch.nn.functional.normalize(ahead, dim=0)
    across = torch.nn.functional.normalize(torch.linalg.cross(_point(0, -1, 0), ahead), dim=0)
    below = torch.linalg.cross(ahead, across)
    skin = plain(_SKIN, 0.03)
    shapes: list[Shape] = [_rod(palm - 0.022 * across, palm + 0.022 * across, 0.026, skin)]
    bend = math.radians(15 + 75 * grip)
    for index in range(4):
        root = palm + (index - 1.5) * 0.0175 * across + 0.018 * ahead
        middle = root + 0.036 * (math.cos(bend / 2) * ahead + math.sin(bend / 2) * below)
        length = 0.030 if index in (1, 2) else 0.025
        tip = middle + length * (math.cos(1.5 * bend) * ahead + math.sin(1.5 * bend) * below)
        shapes += [_rod(root, middle, 0.0095, skin), _rod(middle, tip, 0.0085, skin)]
    thumb_root = palm - side * 0.030 * across
    thumb_tip = thumb_root - side * 0.018 * across + 0.036 * ahead + (0.012 + 0.03 * grip) * below
    return [*shapes, _rod(thumb_root, thumb_tip, 0.0105, skin)]


def _point(x: float, height: float, z: float) -> Tensor:
    return torch.tensor([x, -height, z], dtype=torch.float64)


def _add(first: Point, second: Point) -> Point:
    return tuple(a + b for a, b in zip(first, second))


def _rod(start: Tensor, end: Tensor, radius: float, paint: Paint) -> Capsule:
    length = float(torch.linalg.vector_norm(end - start))
    axes = axes_along(end - start)
    return Capsule(origin=tuple(start.tolist()), axes=axes, length=length, radius=radius, paint=paint)


def _occluder(shape: Ball | Capsule) -> Occluder:
    length = shape.length if isinstance(shape, Capsule) else 0.0
    end = torch.tensor(shape.origin, dtype=torch.float64) + length * shape.axes[2]
    return Occluder(shape.origin, tuple(end.tolist()), shape.radius)
