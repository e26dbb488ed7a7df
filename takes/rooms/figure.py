"""The moving part of a room: a figure that stands at its origin, looks along z and works on what is before it.

Balls and rods make it up; its arms follow its hands, and its eyes follow its work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .movement import Movement, point
from .paints import Color, Paint, Plain, Stripes
from .ray_caster import Occluder
from .shapes import Ball, Capsule, Shape, axes_along

_UPPER_ARM, _FOREARM = 0.29, 0.27  # metres
_ATTENTION = 0.275  # weight on the gaze of the right palm, and of what it carries


@dataclass(frozen=True)
class Look:
    """How a figure is dressed.

    Attributes:
        shirt: the stripes of its trunk; its sleeves have the first one.
        long_sleeves: whether they cover the forearms.
        stature: its height over that of a figure whose eyes are at 1.66 m.
    """

    skin: Color
    hair: Color
    shirt: tuple[Color, Color]
    jeans: Color
    shoes: Color = (0.28, 0.22, 0.20)
    long_sleeves: bool = False
    stature: float = 1.0


@dataclass(frozen=True)
class Moment:
    """The figure at one time: everything that moves.

    Attributes:
        body: its trunk, legs and shoes, and what it carries.
        arms: upper arms, forearms and hands.
        head: neck, head and hair, which the figure's own eyes do not see.
        occluders: rods of it that darken nearby surfaces.
        eye: the point between its eyes [3], metres in the room.
        gaze: the point it looks at [3].
        shoulders: its shoulder joints [2, 3], left and right.
        hips: its hip joints [2, 3], left and right.
    """

    body: tuple[Shape, ...]
    arms: tuple[Shape, ...]
    head: tuple[Shape, ...]
    occluders: tuple[Occluder, ...]
    eye: Tensor
    gaze: Tensor
    shoulders: Tensor
    hips: Tensor


def moment(look: Look, movement: Movement, time: float) -> Moment:
    """Return a figure at a time from 0 (its movement starts) to 1 (it has ended)."""
    tall, sway = look.stature, 0.018 * math.sin(2 * math.pi * time)
    hips, chest = point(0.4 * sway, 0.98 * tall, -0.06), point(0.7 * sway, 1.30 * tall, 0.03)
    neck = point(sway, 1.46 * tall, 0.07)
    skull = neck + point(0.012 * math.sin(5 * time), 0.17, 0.045)
    shoulders = torch.stack([chest + point(0.19 * side, 0.07, 0.0) for side in (-1, 1)])
    (right_palm, right_grip), (left_palm, left_grip) = movement.right.at(time), movement.left.at(time)
    right_arm, left_arm = _arm(look, shoulders[1], right_palm, 1), _arm(look, shoulders[0], left_palm, -1)
    right_hand = _hand(look, right_palm, right_arm[1], 1, right_grip)
    left_hand = _hand(look, left_palm, left_arm[1], -1, left_grip)
    carried, gaze = _carried_and_gaze(movement, time, right_palm)
    facing = torch.nn.functional.normalize(gaze - skull, dim=0)
    shoes = _shoes(look)
    near_things = [*shoes, carried, *right_arm, *left_arm, right_hand[0], left_hand[0]]
    return Moment(
        body=(*_torso(look, hips, chest), *_legs(look, hips), *shoes, carried),
        arms=(*right_arm, *left_arm, *right_hand, *left_hand),
        head=tuple(_head(look, chest, neck, skull, facing)),
        occluders=tuple(_occluder(shape) for shape in near_things),
        eye=skull + 0.10 * facing + point(0, 0.03, 0),
        gaze=gaze,
        shoulders=shoulders,
        hips=torch.stack([hips + point(0.09 * side, -0.05, 0) for side in (-1, 1)]),
    )


def _carried_and_gaze(movement: Movement, time: float, palm: Tensor) -> tuple[Ball, Tensor]:
    """Return what the right palm [3] carries, and the point [3] that the eyes look at."""
    carried = movement.carried
    center = carried.center(time, palm)
    ball = Ball(origin=tuple(center.tolist()), radius=carried.radius, paint=carried.paint)
    return ball, _ATTENTION * palm + _ATTENTION * center + (1 - 2 * _ATTENTION) * point(*movement.rest)


def _torso(look: Look, hips: Tensor, chest: Tensor) -> list[Shape]:
    sleeve = Plain(look.shirt[0])
    return [
        _rod(hips, chest, 0.150, Stripes(*look.shirt, 0.05, axis=2)),
        _rod(chest + point(-0.09, 0.03, 0), chest + point(0.09, 0.03, 0), 0.118, sleeve),
        _rod(chest + point(-0.16, 0.10, 0), chest + point(0.16, 0.10, 0), 0.068, sleeve),
    ]


def _legs(look: Look, hips: Tensor) -> list[Shape]:
    return [
        _rod(hips + point(side * 0.09, -0.05, 0), point(side * 0.11, 0.09, -0.03), 0.080, Plain(look.jeans))
        for side in (-1, 1)
    ]


def _shoes(look: Look) -> list[Capsule]:
    leather = Plain(look.shoes)
    return [_rod(point(side * 0.11, 0.05, -0.06), point(side * 0.13, 0.05, 0.12), 0.05, leather) for side in (-1, 1)]


def _head(look: Look, chest: Tensor, neck: Tensor, skull: Tensor, facing: Tensor) -> list[Shape]:
    hair = skull - 0.030 * facing + point(0, 0.028, 0)
    return [
        _rod(chest, neck + point(0, 0.05, 0.01), 0.055, Plain(look.skin)),
        Ball(origin=tuple(skull.tolist()), radius=0.105, paint=Plain(look.skin)),
        Ball(origin=tuple(hair.tolist()), radius=0.108, paint=Plain(look.hair, 0.12)),
    ]


def _arm(look: Look, shoulder: Tensor, hand: Tensor, side: int) -> list[Capsule]:
    """Return upper arm and forearm from a shoulder to just before a palm, with the elbow out and down."""
    upper, lower = _UPPER_ARM, _FOREARM
    wrist = hand + 0.055 * torch.nn.functional.normalize(shoulder - hand, dim=0)
    along = wrist - shoulder
    distance = torch.linalg.vector_norm(along).clamp_max(upper + lower - 1e-3)
    direction = torch.nn.functional.normalize(along, dim=0)
    foot = (upper**2 - lower**2 + distance**2) / (2 * distance)  # of the elbow's height over shoulder-wrist
    outward = point(0.75 * side, -0.55, -0.35)
    outward = torch.nn.functional.normalize(outward - (outward @ direction) * direction, dim=0)
    elbow = shoulder + foot * direction + (upper**2 - foot**2).clamp_min(0).sqrt() * outward
    sleeve = Plain(look.shirt[0])
    return [
        _rod(shoulder, elbow, 0.052, sleeve),
        _rod(elbow, wrist, 0.037, sleeve if look.long_sleeves else Plain(look.skin)),
    ]


def _hand(look: Look, palm: Tensor, forearm: Shape, side: int, grip: float) -> list[Capsule]:
    """Return a palm, four fingers and a thumb; `grip` bends them from stretched (0) to closed (1)."""
    ahead = forearm.axes[2] * torch.tensor([1.0, 0.35, 1.0], dtype=torch.float64)
    ahead = torch.nn.functional.normalize(ahead, dim=0)
    across = torch.nn.functional.normalize(torch.linalg.cross(point(0, -1, 0), ahead), dim=0)
    below = torch.linalg.cross(ahead, across)
    skin = Plain(look.skin, 0.03)
    shapes = [_rod(palm - 0.022 * across, palm + 0.022 * across, 0.026, skin)]
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


def _rod(start: Tensor, end: Tensor, radius: float, paint: Paint) -> Capsule:
    length = float(torch.linalg.vector_norm(end - start))
    axes = axes_along(end - start)
    return Capsule(origin=tuple(start.tolist()), axes=axes, length=length, radius=radius, paint=paint)


def _occluder(shape: Ball | Capsule) -> Occluder:
    length = shape.length if isinstance(shape, Capsule) else 0.0
    end = torch.tensor(shape.origin, dtype=torch.float64) + length * shape.axes[2]
    return Occluder(shape.origin, tuple(end.tolist()), shape.radius)
