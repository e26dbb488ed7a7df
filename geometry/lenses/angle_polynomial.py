"""The odd polynomial of the angle off the axis by which fisheye lenses bend: t = theta (1 + k1 theta^2 + ...)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_NEWTON_STEPS = 20
_SAMPLES = 9001


@dataclass(frozen=True)
class AnglePolynomial:
    """The polynomial of the coefficients k1, k2, ..."""

    coefficients: tuple[float, ...]

    @cached_property
    def max_angle(self) -> float:
        """Largest angle off the axis, in radians, up to which the polynomial grows (at most 90 degrees).

        Beyond it two directions share a pixel, so points there count as outside the lens' field.
        """
        theta = torch.linspace(0, math.pi / 2, _SAMPLES, dtype=torch.float64)
        falling = (self.slope(theta) <= 0).nonzero()
        return float(theta[falling[0, 0] - 1]) if len(falling) else math.pi / 2

    def __call__(self, theta: Tensor) -> Tensor:
        """Return t of angles in radians."""
        square, factor = theta * theta, torch.zeros_like(theta)
        for k in reversed(self.coefficients):
            factor = (factor + k) * square
        return theta * (1 + factor)

    def slope(self, theta: Tensor) -> Tensor:
        """Return dt/dtheta."""
        square, slope = theta * theta, torch.zeros_like(theta)
        for order, k in reversed(list(enumerate(self.coefficients, start=1))):
            slope = (slope + (2 * order + 1) * k) * square
        return 1 + slope

    def inverse(self, t: Tensor) -> Tensor:
        """Return the angles of t, by Newton's method; those outside the lens' field are `max_angle`."""
        theta = t.clamp_max(self.max_angle)
        for _ in range(_NEWTON_STEPS):
            step = (self(theta) - t) / self.slope(theta).clamp_min(1e-3)
            theta = (theta - step).clamp(0, self.max_angle)
        return theta

    def bend(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Move points x/z, y/z [..., 2] to where the lens shows them; returns them and whether it sees them [...]."""
        r = torch.linalg.vector_norm(xy, dim=-1, keepdim=True)  # [..., 1]
        theta = torch.atan(r)
        bent = xy / r.clamp_min(torch.finfo(xy.dtype).tiny) * self(theta)
        return bent, theta[..., 0] <= self.max_angle

    def rays(self, bent: Tensor) -> Tensor:
        """Return the unit rays [..., 3] that `bend` moves to `bent` [..., 2]."""
        radius = torch.linalg.vector_norm(bent, dim=-1, keepdim=True)  # [..., 1]
        theta = self.inverse(radius)
        direction = bent / radius.clamp_min(torch.finfo(bent.dtype).tiny)
        return torch.cat([direction * theta.sin(), theta.cos()], dim=-1)
