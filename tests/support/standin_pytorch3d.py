"""The part of PyTorch3D that the pack calls, re-derived in plain Python from its documentation.

Used where PyTorch3D is not installed, to check the pack's calls: axes, units and the order of packed points.
"""

from __future__ import annotations

import sys
import types

import torch
from torch import Tensor


class Pointclouds:
    """A batch of point clouds; `points` is a list of [P_i, 3]."""

    def __init__(self, points: list[Tensor]) -> None:
        self.points = points

    def points_packed(self) -> Tensor:
        return torch.cat(self.points)


def rasterize_points(
    pointclouds: Pointclouds,
    image_size: int | tuple[int, int] = 256,
    radius: float = 0.01,
    points_per_pixel: int = 8,
    bin_size: int | None = None,
    max_points_per_bin: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return index int32, z and squared distance [n, H, W, K], nearest first, padded with -1.

    Normalised device coordinates: x to the left, y up, [-1, 1] over the shorter side; a pixel is judged at its
    centre; the index counts through all clouds of the batch.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    unit = min(height, width) / 2  # pixels
    shape = (len(pointclouds.points), height, width, points_per_pixel)
    index, z, distance2 = torch.full(shape, -1, dtype=torch.int32), torch.full(shape, -1.0), torch.full(shape, -1.0)
    first = 0
    for image, cloud in enumerate(pointclouds.points):
        for row in range(height):
            y = (height / 2 - (row + 0.5)) / unit
            for column in range(width):
                x = (width / 2 - (column + 0.5)) / unit
                hits = []
                for number, (px, py, pz) in enumerate(cloud.tolist()):
                    squared = (px - x) ** 2 + (py - y) ** 2
                    if pz >= 0 and squared < radius**2:
                        hits.append((pz, first + number, squared))
                for slot, (pz, number, squared) in enumerate(sorted(hits)[:points_per_pixel]):
                    index[image, row, column, slot] = number
                    z[image, row, column, slot] = pz
                    distance2[image, row, column, slot] = squared
        first += len(cloud)
    return index, z, distance2


def modules() -> dict[str, types.ModuleType]:
    """Return what to put into `sys.modules`, by name."""
    names = [
        "pytorch3d",
        "pytorch3d.renderer",
        "pytorch3d.renderer.points",
        "pytorch3d.renderer.points.rasterize_points",
    ]
    made = {name: types.ModuleType(name) for name in [*names, "pytorch3d.structures"]}
    made["pytorch3d"].__spec__ = sys.modules[__name__].__spec__  # importlib.util.find_spec asks for one
    made["pytorch3d.structures"].Pointclouds = Pointclouds
    made["pytorch3d.renderer.points.rasterize_points"].rasterize_points = rasterize_points
    return made
