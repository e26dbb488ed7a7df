"""Bring the depth and the camera of a clip to the size of its images."""

from __future__ import annotations

from torch import Tensor

from ..cameras.aspect import same_aspect
from ..cameras.camera import Camera
from .depth import Depth


def at_image_size(images: Tensor, depth: Depth, camera: Camera) -> tuple[Depth, Camera]:
    """Resize depth and camera to the images, where they show the same part of the picture.

    Args:
        images: [F, H, W, C].
        depth: of any size with the images' aspect ratio.
        camera: likewise.

    Returns:
        Depth and camera of W x H pixels.

    Raises:
        ValueError: if an aspect ratio differs: a picture of another shape is another part of the scene, and stretching
            it would put every point into a wrong place.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"Expected images [F, H, W, 3], got the shape {list(images.shape)}.")
    height, width = images.shape[1:3]
    if not same_aspect((depth.width, depth.height), (width, height)):
        raise ValueError(
            f"The images are {width} x {height} pixels and the depth {depth.width} x {depth.height}: the aspect "
            "ratios differ, so they show different parts of the image. Bring the video to "
            f"{depth.width} x {depth.height} pixels as the depth model saw it, or run the depth model on these images."
        )
    return depth.resized(width, height), camera.resized(width, height)
