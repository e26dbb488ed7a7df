"""Pixels lifted into the world, and their mean over time: what a point cloud is made of."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.cancel import bounded_slices
from ..cameras.camera import Camera


class Lift:
    """Unprojects chosen pixels of the strided grid; `Camera.unproject` for the pixels that are needed only."""

    def __init__(self, camera: Camera, stride: int) -> None:
        rays = camera.local_rays[::stride, ::stride]  # [h, w, 3]
        self.per_metre = torch.empty(rays.shape)  # z = 1
        for rows in bounded_slices(len(rays), rays[0].numel()):
            self.per_metre[rows] = rays[rows] / rays[rows, :, 2:].clamp_min(1e-6)
        self.poses = camera.camera_to_world.to(torch.float32)  # [F or 1, 4, 4]

    def __call__(self, z: Tensor, chosen: Tensor, frame: int) -> Tensor:
        """Lift the chosen pixels [h, w] bool of depth z [h, w] to world points [M, 3]."""
        pose = self.poses[frame if len(self.poses) > 1 else 0]
        parts = []
        for rows in bounded_slices(len(z), 3 * z.shape[1]):
            local = z[rows][chosen[rows]][:, None] * self.per_metre[rows][chosen[rows]]
            parts.append(local @ pose[:3, :3].T + pose[:3, 3])
        return torch.cat(parts)


class RunningMean:
    """Mean depth [h, w] and colour [h, w, 3] of each pixel over the frames in which it counts."""

    def __init__(self, shape: torch.Size) -> None:
        self.count = torch.zeros(shape)
        self._depth = torch.zeros(shape)
        self._color = torch.zeros((*shape, 3))

    def add(self, z: Tensor, image: Tensor, counts: Tensor) -> None:
        """Add a frame's depth [h, w] and image [h, w, 3 or more] where it counts [h, w] bool."""
        for rows in bounded_slices(len(z), 3 * z.shape[1]):
            adds = counts[rows]
            color = image[rows, :, :3].to("cpu", torch.float32)
            self.count[rows] += adds
            self._depth[rows] += z[rows].masked_fill(~adds, 0)
            self._color[rows] += color.masked_fill(~adds[..., None], 0)

    @property
    def depth(self) -> Tensor:
        """Mean depth, 0 where no frame counted."""
        return self._mean(self._depth[..., None])[..., 0]

    @property
    def color(self) -> Tensor:
        """Mean colour, black where no frame counted."""
        return self._mean(self._color)

    def _mean(self, sums: Tensor) -> Tensor:
        mean = torch.empty_like(sums)
        for rows in bounded_slices(len(sums), sums[0].numel()):
            mean[rows] = sums[rows] / self.count[rows].clamp_min(1)[..., None]
        return mean


def chosen_colors(image: Tensor, chosen: Tensor, quantise: bool) -> Tensor:
    """Return the colors [M, 3] of the chosen pixels [h, w] of an image [h, w, 3 or more], as they are stored."""
    parts = []
    for rows in bounded_slices(len(chosen), 3 * chosen.shape[1]):
        colors = image[rows, :, :3].to("cpu", torch.float32)[chosen[rows]]
        parts.append(colors.clamp(0, 1).mul(255).round().div(255) if quantise else colors)
    return torch.cat(parts)
