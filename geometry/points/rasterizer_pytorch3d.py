"""PyTorch3D's own rasteriser, for those who have it installed.

PyTorch3D looks along +z with x to the left and y up, in normalised device coordinates: the shorter side of the image
spans [-1, 1], the longer one proportionally more (docs: "Cameras coordinate systems"). Points are projected by our
camera before, so any lens works; only the pixels change their unit.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from .fragments import Fragments, Raster, Splats

MAX_POINTS_PER_PIXEL = 150  # kMaxPointsPerPixel of PyTorch3D's CUDA kernels


def require_pytorch3d() -> None:
    """Check that PyTorch3D is here.

    Raises:
        ValueError: if it is not installed.
    """
    if importlib.util.find_spec("pytorch3d") is None:
        raise ValueError(
            "The backend 'pytorch3d' was chosen, but PyTorch3D is not installed in this Python. Choose 'torch', which "
            "gives the same image, or install PyTorch3D for your PyTorch and CUDA versions."
        )


def rasterize(splats: Splats, raster: Raster) -> Fragments:
    """Find the nearest points of every pixel with `pytorch3d.renderer.points.rasterize_points`.

    Raises:
        ValueError: if PyTorch3D is not installed, or `points_per_pixel` is more than its kernels hold.
    """
    require_pytorch3d()
    count = raster.points_per_pixel
    if count > MAX_POINTS_PER_PIXEL:
        raise ValueError(
            f"PyTorch3D keeps at most {MAX_POINTS_PER_PIXEL} points a pixel, got {count}. Choose the backend 'torch'."
        )
    if len(splats) == 0:
        none = splats.image.new_zeros(0)
        return Fragments(none, none.new_zeros(0, count), splats.z.new_zeros(0, count))
    index, distance2 = _call(splats, raster)
    index = index.to(torch.int64).view(-1, count)  # [n * H * W, K], into the packed points: the order of the splats
    pixel = (index[:, 0] >= 0).nonzero()[:, 0]
    point = index[pixel]
    half_side = min(raster.height, raster.width) / 2  # pixels in one unit of device coordinates
    alpha = 1 - distance2.view(-1, count)[pixel] * (half_side / raster.radius) ** 2
    return Fragments(pixel, point, alpha.masked_fill(point < 0, 0).to(splats.z))


def device_coordinates(pixels: Tensor, height: int, width: int) -> Tensor:
    """Turn pixels (column, row) into PyTorch3D's normalised device coordinates (x left, y up), [..., 2]."""
    return (pixels.new_tensor([width, height]) - 2 * pixels) / min(height, width)


def _call(splats: Splats, raster: Raster) -> tuple[Any, Any]:
    """Return PyTorch3D's index and squared distance [n, H, W, K]."""
    from pytorch3d.renderer.points.rasterize_points import rasterize_points
    from pytorch3d.structures import Pointclouds

    in_strip = splats.pixels - splats.pixels.new_tensor([0, raster.top])
    xy = device_coordinates(in_strip, raster.height, raster.width)
    points = torch.cat([xy, splats.z[:, None]], dim=-1).float()  # its kernels take float32 only
    per_image = torch.bincount(splats.image, minlength=raster.n_images).tolist()
    index, _, distance2 = rasterize_points(
        Pointclouds(points=list(points.split(per_image))),
        image_size=(raster.height, raster.width),
        radius=2 * raster.radius / min(raster.height, raster.width),
        points_per_pixel=raster.points_per_pixel,
        # Its default caps a bin's points and drops the rest where a cloud is dense.
        max_points_per_bin=max(per_image),
    )
    return index, distance2
