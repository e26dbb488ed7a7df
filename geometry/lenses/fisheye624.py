"""Project Aria's fisheye."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from .angle_polynomial import AnglePolynomial
from .lens import Lens, on_image_plane

# Resizing may round to whole pixels; a larger difference would need a lens with two focal lengths.
_ISOTROPY_TOLERANCE = 5e-3
_NEWTON_STEPS = 20


@dataclass(frozen=True)
class Fisheye624(Lens):
    """Project Aria's FisheyeRadTanThinPrism: 6 radial, 2 tangential and 4 thin-prism coefficients.

    With theta the angle off the axis and (a, b) the unit direction in the image plane,

        t = theta * (1 + k1 theta^2 + ... + k6 theta^12),  (x, y) = t * (a, b),  q = x^2 + y^2
        u = x + (2 x^2 + q) p1 + 2 x y p2 + s1 q + s2 q^2
        v = y + (2 y^2 + q) p2 + 2 x y p1 + s3 q + s4 q^2
        column = focal * u + cx,  row = focal * v + cy

    Attributes:
        focal: focal length in pixels, one for both axes.
        cx, cy: principal point in pixels.
        radial: k1..k6.
        tangential: p1, p2.
        thin_prism: s1..s4.
    """

    name = "fisheye624"
    title = "Fisheye624"
    number_names = (*("focal", "cx", "cy", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"), *("s1", "s2", "s3", "s4"))
    focal_fields = ("focal",)
    lists: ClassVar[Mapping[str, int]] = {"radial": 6, "tangential": 2, "thin_prism": 4}

    focal: float
    cx: float
    cy: float
    radial: tuple[float, ...] = (0.0,) * 6
    tangential: tuple[float, ...] = (0.0,) * 2
    thin_prism: tuple[float, ...] = (0.0,) * 4

    @cached_property
    def _angles(self) -> AnglePolynomial:
        return AnglePolynomial(self.radial)

    @property
    def max_angle(self) -> float:
        """Largest angle off the axis that the lens sees, in radians: see `AnglePolynomial`."""
        return self._angles.max_angle

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project camera-frame points [..., 3]; see `Lens.project`."""
        xy, in_front = on_image_plane(points)
        plane, seen = self._angles.bend(xy)  # [..., 2]
        pixels = self.focal * (plane + self._decentring(plane)) + plane.new_tensor([self.cx, self.cy])
        return pixels, in_front & seen

    def unproject(self, pixels: Tensor) -> Tensor:
        """Return the unit rays [..., 3] of pixels [..., 2] in the camera frame.

        Newton's method, first for the plane point behind the tangential and thin-prism terms, then for the angle
        behind the radial polynomial. Pixels outside the lens' field get the ray at `max_angle`.
        """
        target = (pixels - pixels.new_tensor([self.cx, self.cy])) / self.focal  # [..., 2]
        plane = target.clone()
        for _ in range(_NEWTON_STEPS):
            residual = plane + self._decentring(plane) - target
            plane = plane - self._newton_step(plane, residual)
        return self._angles.rays(plane)

    def scaled(self, sx: float, sy: float) -> Fisheye624:
        """Return the lens of the image resized by `sx` and `sy`, which must agree: this lens has one focal length.

        Raises:
            ValueError: if the two factors differ by more than rounding to whole pixels explains.
        """
        if abs(sx / sy - 1) > _ISOTROPY_TOLERANCE:
            raise ValueError(
                f"A Fisheye624 image must be resized alike in both directions, got factors {sx:.4f} and {sy:.4f}. "
                "Crop it to the new aspect ratio first."
            )
        return replace(self, focal=self.focal * math.sqrt(sx * sy), cx=self.cx * sx, cy=self.cy * sy)

    def turned_clockwise(self, width: int, height: int) -> Fisheye624:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees.

        The model is closed under quarter turns: x' = -y and y' = x permute the decentring coefficients.
        """
        (p1, p2), (s1, s2, s3, s4) = self.tangential, self.thin_prism
        return replace(self, cx=height - self.cy, cy=self.cx, tangential=(-p2, p1), thin_prism=(-s3, -s4, s1, s2))

    def _decentring(self, plane: Tensor) -> Tensor:
        (p1, p2), (s1, s2, s3, s4) = self.tangential, self.thin_prism
        x, y = plane.unbind(-1)
        q = x * x + y * y
        u = (2 * x * x + q) * p1 + 2 * x * y * p2 + s1 * q + s2 * q * q
        v = (2 * y * y + q) * p2 + 2 * x * y * p1 + s3 * q + s4 * q * q
        return torch.stack([u, v], dim=-1)

    def _newton_step(self, plane: Tensor, residual: Tensor) -> Tensor:
        """Return J^-1 residual [..., 2] with J = d(plane + decentring)/d(plane), by Cramer's rule."""
        (p1, p2), (s1, s2, s3, s4) = self.tangential, self.thin_prism
        x, y = plane.unbind(-1)
        q = x * x + y * y
        mixed = 2 * (y * p1 + x * p2)
        prism_u, prism_v = 2 * s1 + 4 * s2 * q, 2 * s3 + 4 * s4 * q
        ux, uy = 1 + 6 * x * p1 + 2 * y * p2 + prism_u * x, mixed + prism_u * y
        vx, vy = mixed + prism_v * x, 1 + 6 * y * p2 + 2 * x * p1 + prism_v * y
        ru, rv = residual.unbind(-1)
        return torch.stack([ru * vy - rv * uy, rv * ux - ru * vx], dim=-1) / (ux * vy - uy * vx)[..., None]
