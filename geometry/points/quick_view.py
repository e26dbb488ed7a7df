"""A small picture of what a camera sees of a point cloud, in seconds for a whole clip."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..cameras.aspect import same_aspect
from ..cameras.camera import Camera
from .point_cloud import PointCloud
from .renderer import Rendering, render_points

QUICK_SIDE = 224  # pixels: the longer side
# Points that overlap change little of a small picture, and cost the most time.
_POINTS_PER_PIXEL = 4


def quick_view(
    cloud: PointCloud,
    camera: Camera,
    side: int = QUICK_SIDE,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | str | None = None,
    near: float = 0.0,
) -> Rendering:
    """Render a cloud small, with discs that cover the same share of the picture as in the real ego prior.

    Its depth is not kept.

    Args:
        cloud: as in `render_points`.
        camera: of any size; it is made smaller, never larger.
        side: longer side of the picture in pixels; a little more where the aspect ratio needs it.
        progress: as in `render_points`.
        device: as in `render_points`.
        near: as in `render_points`.

    Raises:
        ValueError: as `render_points`.
    """
    return render_points(
        cloud,
        smaller(camera, side),
        points_per_pixel=_POINTS_PER_PIXEL,
        progress=progress,
        device=device,
        near=near,
        keep_depth=False,
    )


def smaller(camera: Camera, side: int) -> Camera:
    """Return the camera of the same picture with a longer side of about `side` pixels, if it has more."""
    longer = max(camera.width, camera.height)
    for size in range(side, longer):
        width, height = (max(1, round(length * size / longer)) for length in (camera.width, camera.height))
        if same_aspect((width, height), (camera.width, camera.height)):
            return camera.resized(width, height)
    return camera
