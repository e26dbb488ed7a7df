"""Brown and Conrady's distortion, as OpenCV calibrates phones and ordinary cameras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from .lens import Lens, on_image_plane

_NEWTON_STEPS = 20
# Off the axis; far beyond what a lens of this kind shows, and where its polynomials have long gone wild.
_WIDEST = math.tan(math.radians(85.0))
_SAMPLES = 9001


@dataclass(frozen=True)
class BrownConrady(Lens):
    """A pinhole with OpenCV's rational and tangential distortion (`cv2.calibrateCamera`, eight coefficients).

    With x = X/Z, y = Y/Z and q = x^2 + y^2,

        g = (1 + k1 q + k2 q^2 + k3 q^3) / (1 + k4 q + k5 q^2 + k6 q^3)
        u = x g + 2 p1 x y + p2 (q + 2 x^2),  v = y g + p1 (q + 2 y^2) + 2 p2 x y
        column = fx u + cx,  row = fy v + cy

    OpenCV counts pixel centres at whole numbers: add 0.5 to its cx and cy.

    Attributes:
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels.
        distortion: k1, k2, p1, p2, k3, k4, k5, k6, in OpenCV's order.
    """

    name = "brown_conrady"
    title = "Brown-Conrady"
    number_names = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    lists: ClassVar[Mapping[str, int]] = {"distortion": 8}

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0,) * 8

    @cached_property
    def max_radius(self) -> float:
        """Largest x/z off the axis up to which points move outwards (at most 85 degrees); beyond, two share a pixel."""
        q = torch.linspace(0, _WIDEST, _SAMPLES, dtype=torch.float64).square()
        stretch, slope = self._stretch(q)
        falling = ((stretch + 2 * q * slope <= 0) | (stretch <= 0)).nonzero()  # d(r g)/dr = g + 2 q dg/dq
        return float(q[falling[0, 0] - 1].sqrt()) if len(falling) else _WIDEST

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project camera-frame points [..., 3]; see `Lens.project`."""
        xy, in_front = on_image_plane(points)
        seen = torch.linalg.vector_norm(xy, dim=-1) <= self.max_radius
        distorted, _ = self._distorted(xy)
        return distorted * xy.new_tensor([self.fx, self.fy]) + xy.new_tensor([self.cx, self.cy]), in_front & seen

    def unproject(self, pixels: Tensor) -> Tensor:
        """Return the unit rays [..., 3] of pixels [..., 2]; pixels outside the field get a ray at `max_radius`."""
        target = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        xy = self._within_field(target)
        for _ in range(_NEWTON_STEPS):
            distorted, jacobian = self._distorted(xy)
            xy = self._within_field(xy - _solved(jacobian, distorted - target))
        return torch.nn.functional.normalize(torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1), dim=-1)

    def turned_clockwise(self, width: int, height: int) -> BrownConrady:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees (x' = -y, y' = x)."""
        k1, k2, p1, p2, *rest = self.distortion
        turned = replace(self, distortion=(k1, k2, p2, -p1, *rest))
        return replace(turned, fx=self.fy, fy=self.fx, cx=height - self.cy, cy=self.cx)

    def _within_field(self, xy: Tensor) -> Tensor:
        """Pull points [..., 2] beyond the lens' field back onto its rim."""
        radius = torch.linalg.vector_norm(xy, dim=-1, keepdim=True).clamp_min(torch.finfo(xy.dtype).tiny)
        return xy * (self.max_radius / radius).clamp_max(1.0)

    def _stretch(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return g and dg/dq of squared radii."""
        k1, k2, _, _, k3, k4, k5, k6 = self.distortion
        above, below = 1 + q * (k1 + q * (k2 + q * k3)), 1 + q * (k4 + q * (k5 + q * k6))
        above_slope, below_slope = k1 + q * (2 * k2 + q * 3 * k3), k4 + q * (2 * k5 + q * 3 * k6)
        stretch = above / below
        return stretch, (above_slope - stretch * below_slope) / below

    def _distorted(self, xy: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Return the distorted points [..., 2] and their derivatives (du/dx, du/dy, dv/dx, dv/dy), each [...]."""
        _, _, p1, p2, *_ = self.distortion
        x, y = xy.unbind(-1)
        q = x * x + y * y
        stretch, slope = self._stretch(q)
        u = x * stretch + 2 * p1 * x * y + p2 * (q + 2 * x * x)
        v = y * stretch + p1 * (q + 2 * y * y) + 2 * p2 * x * y
        mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        ux = stretch + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        vy = stretch + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        return torch.stack([u, v], dim=-1), (ux, mixed, mixed, vy)


def _solved(jacobian: tuple[Tensor, Tensor, Tensor, Tensor], residual: Tensor) -> Tensor:
    """Return J^-1 residual [..., 2], by Cramer's rule."""
    ux, uy, vx, vy = jacobian
    ru, rv = residual.unbind(-1)
    return torch.stack([ru * vy - rv * uy, rv * ux - ru * vx], dim=-1) / (ux * vy - uy * vx)[..., None]
