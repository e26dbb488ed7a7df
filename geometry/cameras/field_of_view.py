"""Lenses for programs that know one number: the vertical field of view of a centred pinhole with square pixels."""

from __future__ import annotations

import math

import torch

from ..lenses.pinhole import Pinhole
from .camera import Camera

# A wide fisheye has no pinhole of its field of view; this is the widest that 3D programs draw sensibly.
_WIDEST = 150.0  # degrees
_TOLERANCE = 1e-9  # of the picture's height


def lens_of_fov(fov_degrees: float, width: int, height: int) -> Pinhole:
    """Make the lens of a vertical field of view.

    Raises:
        ValueError: if it is not between 0 and 180 degrees.
    """
    if not 0 < fov_degrees < 180:
        raise ValueError(f"A vertical field of view lies between 0 and 180 degrees, got {fov_degrees}.")
    focal = 0.5 * height / math.tan(math.radians(fov_degrees) / 2)
    return Pinhole(focal, focal, width / 2, height / 2)


def vertical_fov(camera: Camera) -> float:
    """Return the vertical field of view in degrees of a lens, or of the pinhole that stands in for it.

    For a fisheye that is the angle between the middles of the upper and the lower edge, at most 150 degrees.
    """
    if isinstance(camera.lens, Pinhole):
        return math.degrees(2 * math.atan(0.5 * camera.height / camera.lens.fy))
    edges = torch.tensor([[camera.width / 2, 0.0], [camera.width / 2, camera.height]], dtype=torch.float64)
    top, bottom = camera.lens.unproject(edges)
    return min(math.degrees(math.acos(float((top @ bottom).clamp(-1, 1)))), _WIDEST)


def lost_without_lens(camera: Camera) -> str:
    """Say what of a lens is lost where only `vertical_fov` and the picture's size are kept; empty if nothing is."""
    lens = camera.lens
    if not isinstance(lens, Pinhole):
        return f"a pinhole of {vertical_fov(camera):.1f} degrees stands in for the {lens.title} lens"
    lost = []
    if abs(lens.fx - lens.fy) > _TOLERANCE * lens.fy:
        lost.append(f"the pixels' shape (fx {lens.fx:.3f}, fy {lens.fy:.3f})")
    right, down = lens.cx - camera.width / 2, lens.cy - camera.height / 2
    if max(abs(right), abs(down)) > _TOLERANCE * camera.height:
        lost.append(f"the principal point ({right:+.3f}, {down:+.3f} pixels off the middle)")
    return f"{' and '.join(lost)} cannot be kept" if lost else ""
