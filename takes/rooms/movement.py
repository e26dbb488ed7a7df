"""What a figure's hands do and its eyes follow, over time.

Places are (right, height, ahead) in metres: heights go upwards here, as people tell them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .paints import Paint
from .shapes import Point


def point(x: float, height: float, z: float) -> Tensor:
    """Return a place as a point [3] of the room's axes (y down), float64."""
    return torch.tensor([x, -height, z], dtype=torch.float64)


@dataclass(frozen=True)
class KeyPose:
    """Where a palm is at a time: (right, height, ahead) in metres, and how far its fingers are closed (0 to 1)."""

    time: float
    place: Point
    grip: float


@dataclass(frozen=True)
class HandPath:
    """The way of a palm through key poses in order of time, eased in and out; before and after them it rests.

    Attributes:
        keys: the poses.
        drift: sideways and forward unrest in metres.
    """

    keys: tuple[KeyPose, ...]
    drift: tuple[float, float] = (0.0, 0.0)

    def at(self, time: float) -> tuple[Tensor, float]:
        """Return the palm [3] in the room's axes, and its grip."""
        place, grip = self._between_keys(time)
        across, ahead = self.drift
        return point(place[0] + across * math.sin(4 * time), place[1], place[2] + ahead * math.cos(5 * time)), grip

    def _between_keys(self, time: float) -> tuple[Point, float]:
        if time < self.keys[0].time:
            return self.keys[0].place, self.keys[0].grip
        for last, following in pairwise(self.keys):
            if time <= following.time:
                share = (time - last.time) / (following.time - last.time)
                share = share * share * (3 - 2 * share)
                x, height, z = (a + share * (b - a) for a, b in zip(last.place, following.place))
                return (x, height, z), last.grip + share * (following.grip - last.grip)
        return self.keys[-1].place, self.keys[-1].grip


def palm_over(radius: float) -> Point:
    """Return where the palm lies from the center of a ball that it holds: (right, up, ahead) in metres."""
    return (0.0, radius + 0.030, -0.012)


@dataclass(frozen=True)
class Carried:
    """A ball that the right hand takes and puts down.

    Attributes:
        start, end: its center before and after: (right, height, ahead) in metres.
        taken, put_down: the times at which the hand closes around it and lets go.
    """

    radius: float
    paint: Paint
    start: Point
    end: Point
    taken: float
    put_down: float

    def center(self, time: float, palm: Tensor) -> Tensor:
        """Return its center [3] while the right palm is at `palm` [3]."""
        if time <= self.taken:
            return point(*self.start)
        if time >= self.put_down:
            return point(*self.end)
        return palm - point(*palm_over(self.radius))


@dataclass(frozen=True)
class Movement:
    """What a figure does from time 0 to 1.

    Attributes:
        right, left: the ways of its palms.
        carried: what it carries in its right hand.
        rest: what its eyes return to: (right, height, ahead) in metres.
    """

    right: HandPath
    left: HandPath
    carried: Carried
    rest: Point
