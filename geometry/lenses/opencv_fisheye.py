"""OpenCV's fisheye, as GoPros and action cameras are calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from .angle_polynomial import AnglePolynomial
from .lens import Lens, on_image_plane


@dataclass(frozen=True)
class OpenCVFisheye(Lens):
    """The model of `cv2.fisheye` (Kannala-Brandt with four coefficients, without skew).

    With theta the angle off the axis and (a, b) the unit direction in the image plane,

        t = theta * (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)
        column = fx * t * a + cx,  row = fy * t * b + cy

    OpenCV counts pixel centres at whole numbers: add 0.5 to its cx and cy.

    Attributes:
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels.
        radial: k1..k4.
    """

    name = "opencv_fisheye"
    title = "OpenCV fisheye"
    number_names = ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4")
    lists: ClassVar[Mapping[str, int]] = {"radial": 4}

    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, ...] = (0.0,) * 4

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
        bent, seen = self._angles.bend(xy)  # [..., 2]
        return bent * bent.new_tensor([self.fx, self.fy]) + bent.new_tensor([self.cx, self.cy]), in_front & seen

    def unproject(self, pixels: Tensor) -> Tensor:
        """Return the unit rays [..., 3] of pixels [..., 2]; pixels outside the field get the ray at `max_angle`."""
        bent = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        return self._angles.rays(bent)

    def turned_clockwise(self, width: int, height: int) -> OpenCVFisheye:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees."""
        return OpenCVFisheye(self.fy, self.fx, height - self.cy, self.cx, self.radial)
