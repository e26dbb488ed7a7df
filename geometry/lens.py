"""Lenses: how a point of the camera frame becomes a pixel, and back.

Camera frame: OpenCV axes (x right, y down, z forward). Pixels: (column, row) with pixel centres at +0.5, so the
first pixel covers [0, 1). A lens is a frozen value; its methods work on tensors of any float type and device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

# Resizing may round to whole pixels; a larger difference would need a lens with two focal lengths.
_ISOTROPY_TOLERANCE = 5e-3
_NEWTON_STEPS = 20


def _normalised(points: Tensor) -> tuple[Tensor, Tensor]:
    """Split camera-frame points [..., 3] into x/z, y/z [..., 2] and whether they lie in front [...]."""
    z = points[..., 2]
    in_front = z > 0
    safe_z = torch.where(in_front, z, torch.ones_like(z))
    return points[..., :2] / safe_z[..., None], in_front


@dataclass(frozen=True)
class Pinhole:
    """Pinhole lens: `column = fx * x/z + cx`, `row = fy * y/z + cy`, all in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        _check_numbers("Pinhole", (self.fx, self.fy, self.cx, self.cy), focal=(self.fx, self.fy))

    @classmethod
    def from_fov(cls, fov_degrees: float, width: int, height: int) -> Pinhole:
        """Make a lens with square pixels and a centred axis from the horizontal field of view in degrees.

        Raises:
            ValueError: if the field of view is not between 0 and 180 degrees.
        """
        if not 0 < fov_degrees < 180:
            raise ValueError(f"A pinhole's field of view lies between 0 and 180 degrees, got {fov_degrees}.")
        focal = 0.5 * width / math.tan(math.radians(fov_degrees) / 2)
        return cls(focal, focal, width / 2, height / 2)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project camera-frame points.

        Args:
            points: [..., 3], any unit.

        Returns:
            Pixels [..., 2] as (column, row), and whether each point lies in front of the camera [...].
        """
        xy, in_front = _normalised(points)
        return xy * xy.new_tensor([self.fx, self.fy]) + xy.new_tensor([self.cx, self.cy]), in_front

    def unproject(self, pixels: Tensor) -> Tensor:
        """Return the unit rays [..., 3] of pixels [..., 2] in the camera frame."""
        xy = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        rays = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)
        return torch.nn.functional.normalize(rays, dim=-1)

    def scaled(self, sx: float, sy: float) -> Pinhole:
        """Return the lens of the image resized by `sx` horizontally and `sy` vertically."""
        return Pinhole(self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy)

    def cropped(self, left: float, top: float) -> Pinhole:
        """Return the lens of the image whose first column and row are `left` and `top` of this one."""
        return replace(self, cx=self.cx - left, cy=self.cy - top)

    def turned_clockwise(self, width: int, height: int) -> Pinhole:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees."""
        return Pinhole(fx=self.fy, fy=self.fx, cx=height - self.cy, cy=self.cx)


@dataclass(frozen=True)
class Fisheye624:
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

    focal: float
    cx: float
    cy: float
    radial: tuple[float, ...] = (0.0,) * 6
    tangential: tuple[float, ...] = (0.0,) * 2
    thin_prism: tuple[float, ...] = (0.0,) * 4

    def __post_init__(self) -> None:
        for name, count in (("radial", 6), ("tangential", 2), ("thin_prism", 4)):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != count:
                raise ValueError(f"Fisheye624 takes {count} {name} coefficients, got {len(values)}.")
            object.__setattr__(self, name, values)
        numbers = (self.focal, self.cx, self.cy, *self.radial, *self.tangential, *self.thin_prism)
        _check_numbers("Fisheye624", numbers, focal=(self.focal,))

    @cached_property
    def max_angle(self) -> float:
        """Largest angle off the axis, in radians, up to which the radial polynomial grows (at most 90 degrees).

        Beyond it two directions share a pixel, so points there count as outside the lens' field.
        """
        theta = torch.linspace(0, math.pi / 2, 9001, dtype=torch.float64)
        falling = (self._radial_slope(theta) <= 0).nonzero()
        return float(theta[falling[0, 0] - 1]) if len(falling) else math.pi / 2

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project camera-frame points.

        Args:
            points: [..., 3], any unit.

        Returns:
            Pixels [..., 2] as (column, row), and whether each point lies in front of the camera and within the
            lens' field [...].
        """
        xy, in_front = _normalised(points)
        r = torch.linalg.vector_norm(xy, dim=-1, keepdim=True)  # [..., 1]
        theta = torch.atan(r)
        plane = xy / r.clamp_min(torch.finfo(xy.dtype).tiny) * self._radial(theta)  # [..., 2]
        pixels = self.focal * (plane + self._decentring(plane)) + plane.new_tensor([self.cx, self.cy])
        return pixels, in_front & (theta[..., 0] <= self.max_angle)

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
        radius = torch.linalg.vector_norm(plane, dim=-1, keepdim=True)  # [..., 1]
        theta = radius.clamp_max(self.max_angle)
        for _ in range(_NEWTON_STEPS):
            step = (self._radial(theta) - radius) / self._radial_slope(theta).clamp_min(1e-3)
            theta = (theta - step).clamp(0, self.max_angle)
        direction = plane / radius.clamp_min(torch.finfo(plane.dtype).tiny)
        return torch.cat([direction * theta.sin(), theta.cos()], dim=-1)

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

    def cropped(self, left: float, top: float) -> Fisheye624:
        """Return the lens of the image whose first column and row are `left` and `top` of this one."""
        return replace(self, cx=self.cx - left, cy=self.cy - top)

    def turned_clockwise(self, width: int, height: int) -> Fisheye624:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees.

        The model is closed under quarter turns: x' = -y and y' = x permute the decentring coefficients.
        """
        (p1, p2), (s1, s2, s3, s4) = self.tangential, self.thin_prism
        return replace(self, cx=height - self.cy, cy=self.cx, tangential=(-p2, p1), thin_prism=(-s3, -s4, s1, s2))

    def _radial(self, theta: Tensor) -> Tensor:
        square, factor = theta * theta, torch.zeros_like(theta)
        for k in reversed(self.radial):
            factor = (factor + k) * square
        return theta * (1 + factor)

    def _radial_slope(self, theta: Tensor) -> Tensor:
        square, slope = theta * theta, torch.zeros_like(theta)
        for order, k in reversed(list(enumerate(self.radial, start=1))):
            slope = (slope + (2 * order + 1) * k) * square
        return 1 + slope

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


Lens = Pinhole | Fisheye624


def _check_numbers(name: str, numbers: tuple[float, ...], focal: tuple[float, ...]) -> None:
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name} takes finite numbers, got {numbers}.")
    if min(focal) <= 0:
        raise ValueError(f"{name} takes positive focal lengths in pixels, got {focal}.")
