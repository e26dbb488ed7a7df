"""Solid shapes that a ray can meet.

Every shape has a frame of its own: an origin and three axes. Rays are brought into it, so each kind only says
where a ray of its own frame meets it and which way its surface faces there. Vectorised over rays; the arithmetic is
exact up to the rays' float type.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .paints import Paint

Point = tuple[float, float, float]

# A ray that starts on a surface must not meet it again at once.
NEAREST = 1e-6

# Axes of what stands: the third one points upwards.
UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shape(ABC):
    """A solid with a frame of its own.

    Attributes:
        origin: where the frame lies in the world, metres.
        axes: [3, 3] float64, its axes as rows, in world coordinates.
        paint: the color of each surface point.
    """

    paint: Paint
    origin: Point = (0.0, 0.0, 0.0)
    axes: Tensor = field(default_factory=lambda: torch.eye(3, dtype=torch.float64))

    def meet(self, origin: Tensor, directions: Tensor) -> Tensor:
        """Return the distance [...] at which world rays first meet the surface; inf where they never do.

        Args:
            origin: [3], of all rays.
            directions: unit vectors [3, ...]: components first, which is what makes this fast.
        """
        axes = self.axes.to(directions)
        start = axes @ (origin - origin.new_tensor(self.origin))
        distance = self._meet(start, torch.tensordot(axes, directions, dims=1))
        return torch.where(distance > NEAREST, distance, torch.inf)

    def surface(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return outward normals and colors, both [N, 3], of world points [N, 3] on the surface."""
        axes = self.axes.to(points)
        local = (points - points.new_tensor(self.origin)) @ axes.T
        return self._normals(local) @ axes, self.paint(local)

    @abstractmethod
    def bounding_ball(self) -> tuple[Tensor, float]:
        """Return center [3] and radius in metres of a ball that holds the shape."""

    @abstractmethod
    def _meet(self, start: Tensor, directions: Tensor) -> Tensor:
        """Return the distance [...] along local rays from `start` [3]; not past `NEAREST`, or inf, where they miss."""

    @abstractmethod
    def _normals(self, points: Tensor) -> Tensor:
        """Return outward normals [N, 3] at local points [N, 3]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Ball(Shape):
    """A ball around the origin."""

    radius: float

    def bounding_ball(self) -> tuple[Tensor, float]:
        """See `Shape`."""
        return torch.tensor(self.origin, dtype=torch.float64), self.radius

    def _meet(self, start: Tensor, directions: Tensor) -> Tensor:
        return _nearest_root(torch.tensordot(start, directions, dims=1), start @ start - self.radius**2)

    def _normals(self, points: Tensor) -> Tensor:
        return points / self.radius


@dataclass(frozen=True, eq=False, kw_only=True)
class Box(Shape):
    """A box around the origin with edges along the axes; `inside_out` makes it a room, met from within."""

    half_size: Point
    inside_out: bool = False

    def bounding_ball(self) -> tuple[Tensor, float]:
        """See `Shape`."""
        radius = math.inf if self.inside_out else math.hypot(*self.half_size)
        return torch.tensor(self.origin, dtype=torch.float64), radius

    def _meet(self, start: Tensor, directions: Tensor) -> Tensor:
        enter, leave = torch.full_like(directions[0], -torch.inf), torch.full_like(directions[0], torch.inf)
        for from_center, half, direction in zip(start.tolist(), self.half_size, directions):
            inverse = torch.where(direction == 0, 1e-12, direction).reciprocal()
            middle, reach = -from_center * inverse, half * inverse.abs()
            enter, leave = torch.maximum(enter, middle - reach), torch.minimum(leave, middle + reach)
        return leave if self.inside_out else torch.where(enter < leave, enter, torch.inf)

    def _normals(self, points: Tensor) -> Tensor:
        scaled = points / points.new_tensor(self.half_size)
        face = torch.nn.functional.one_hot(scaled.abs().argmax(dim=-1), 3)
        return face * scaled.sign() * (-1 if self.inside_out else 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Capsule(Shape):
    """A rod with round ends: all points within `radius` of the third axis between 0 and `length`."""

    length: float
    radius: float

    def bounding_ball(self) -> tuple[Tensor, float]:
        """See `Shape`."""
        return _middle_of_rod(self), self.length / 2 + self.radius

    def _meet(self, start: Tensor, directions: Tensor) -> Tensor:
        side = _meet_side(start, directions, self.radius)
        height = start[2] + side * directions[2]
        side = torch.where((height >= 0) & (height <= self.length), side, torch.inf)
        for end in (0.0, self.length):
            cap = start - start.new_tensor([0, 0, end])
            side = torch.minimum(
                side, _nearest_root(torch.tensordot(cap, directions, dims=1), cap @ cap - self.radius**2)
            )
        return side

    def _normals(self, points: Tensor) -> Tensor:
        on_axis = torch.zeros_like(points)
        on_axis[:, 2] = points[:, 2].clamp(0, self.length)
        return (points - on_axis) / self.radius


@dataclass(frozen=True, eq=False, kw_only=True)
class Cylinder(Shape):
    """A rod with flat ends along the third axis, from 0 to `length`."""

    length: float
    radius: float

    def bounding_ball(self) -> tuple[Tensor, float]:
        """See `Shape`."""
        return _middle_of_rod(self), math.hypot(self.length / 2, self.radius)

    def _meet(self, start: Tensor, directions: Tensor) -> Tensor:
        side = _meet_side(start, directions, self.radius)
        height = start[2] + side * directions[2]
        nearest = torch.where((height >= 0) & (height <= self.length), side, torch.inf)
        for end in (0.0, self.length):
            cap = (end - start[2]) / torch.where(directions[2] == 0, 1e-12, directions[2])
            x, y = start[0] + cap * directions[0], start[1] + cap * directions[1]
            within = (x * x + y * y <= self.radius**2) & (cap > 0)
            nearest = torch.where(within & (cap < nearest), cap, nearest)
        return nearest

    def _normals(self, points: Tensor) -> Tensor:
        beyond = torch.stack([-points[:, 2], points[:, 2] - self.length], dim=-1)
        radial = torch.linalg.vector_norm(points[:, :2], dim=-1) - self.radius
        normals = torch.zeros_like(points)
        normals[:, :2] = points[:, :2] / self.radius
        on_cap = beyond.amax(dim=-1) > radial
        normals[on_cap] = 0
        normals[on_cap, 2] = beyond[on_cap].argmax(dim=-1).to(points) * 2 - 1
        return normals


def axes_along(direction: Tensor) -> Tensor:
    """Return axes [3, 3] (rows) whose third one points along `direction` [3]."""
    third = torch.nn.functional.normalize(direction.double(), dim=0)
    helper = torch.zeros(3, dtype=torch.float64)
    helper[int(third.abs().argmin())] = 1
    first = torch.nn.functional.normalize(torch.linalg.cross(helper, third), dim=0)
    return torch.stack([first, torch.linalg.cross(third, first), third])


def axes_turned(degrees: float) -> Tensor:
    """Return axes [3, 3] (rows) turned about the world's y axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float64)


def _middle_of_rod(rod: Capsule | Cylinder) -> Tensor:
    return torch.tensor(rod.origin, dtype=torch.float64) + rod.length / 2 * rod.axes[2]


def _nearest_root(b: Tensor, c: Tensor) -> Tensor:
    """Return the smaller root of t^2 + 2 b t + c, inf where there is none."""
    discriminant = b * b - c
    return torch.where(discriminant >= 0, -b - discriminant.clamp_min(0).sqrt(), torch.inf)


def _meet_side(start: Tensor, directions: Tensor, radius: float) -> Tensor:
    """Return where rays meet the endless tube of `radius` around the third axis."""
    x, y, _ = directions
    square = (x * x + y * y).clamp_min(1e-12)
    return _nearest_root((start[0] * x + start[1] * y) / square, (start[:2] @ start[:2] - radius**2) / square)
