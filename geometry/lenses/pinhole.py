"""The pinhole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .lens import Lens, on_image_plane


@dataclass(frozen=True)
class Pinhole(Lens):
    """Pinhole lens: `column = fx * x/z + cx`, `row = fy * y/z + cy`, all in pixels."""

    name = "pinhole"
    title = "Pinhole"
    number_names = ("fx", "fy", "cx", "cy")
    npz_key = "intrinsics"
    is_pinhole = True

    fx: float
    fy: float
    cx: float
    cy: float

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
        """Project camera-frame points [..., 3]; see `Lens.project`."""
        xy, in_front = on_image_plane(points)
        return xy * xy.new_tensor([self.fx, self.fy]) + xy.new_tensor([self.cx, self.cy]), in_front

    def unproject(self, pixels: Tensor) -> Tensor:
        """Return the unit rays [..., 3] of pixels [..., 2] in the camera frame."""
        xy = (pixels - pixels.new_tensor([self.cx, self.cy])) / pixels.new_tensor([self.fx, self.fy])
        rays = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)
        return torch.nn.functional.normalize(rays, dim=-1)

    def turned_clockwise(self, width: int, height: int) -> Pinhole:
        """Return the lens of the `width` x `height` image turned clockwise by 90 degrees."""
        return Pinhole(fx=self.fy, fy=self.fx, cx=height - self.cy, cy=self.cx)
