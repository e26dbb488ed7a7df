"""Directions sampled at 2x2 places of every token: the keys of all released forms, and rays of the true lens.

One frame stands for each latent frame, the first of its four.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ..cameras.camera import Camera
from ..depth.depth import Depth


def sampled_keys(
    exo_camera: Camera,
    exo_depth: Depth,
    ego_camera: Camera,
    stride: int,
    tokens: tuple[int, int],
    unit_length: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return directions from the ego camera's centres to the exo tokens' points.

    The world point map is resized bilinearly to two places a token in each direction (at 8 pixels a place that is
    the mean of the 2x2 pixels around the middle), the direction to each place taken, and the 2x2 mean formed.

    Args:
        exo_camera: fixed or F poses, of the depth's size.
        exo_depth: metric depth of F frames.
        ego_camera: F poses.
        stride: frames 0, stride, 2 stride, ... stand for the T latent frames.
        tokens: (rows, columns).
        unit_length: whether the means are brought back to unit length. The release leaves them shorter (down to 0.02
            at depth edges).
        progress: called with (query frames done, T).

    Returns:
        [query frame T, key frame T, rows, columns, 3]; zero where no place has depth.
    """
    rows, columns = tokens
    points, valid = _point_map(exo_camera, exo_depth, stride, (2 * rows, 2 * columns))
    centers = ego_camera.centers[::stride]  # [T, 3]
    counts = _block_sums(valid[..., None]).clamp_min(1)  # [T, rows, columns, 1]
    keys = points.new_zeros(len(centers), len(centers), rows, columns, 3)
    for frame, center in enumerate(centers):
        directions = normalize(points - center, dim=-1) * valid[..., None]  # [T, 2 rows, 2 columns, 3]
        keys[frame] = _block_sums(directions) / counts
        if progress is not None:
            progress(frame + 1, len(centers))
    return normalize(keys, dim=-1) if unit_length else keys


def physical_rays(ego_camera: Camera, tokens: tuple[int, int]) -> Tensor:
    """Return the unit rays of the ego tokens by the camera's own lens [T, rows, columns, 3].

    Each is the mean of the rays through the middles of its four quarters.
    """
    rows, columns = tokens
    local = ego_camera.resized(2 * columns, 2 * rows).local_rays  # [2 rows, 2 columns, 3]
    return normalize(torch.einsum("tij,hwj->thwi", ego_camera.camera_to_world[:, :3, :3], block_means(local)), dim=-1)


def block_means(values: Tensor) -> Tensor:
    """Average [..., 2 rows, 2 columns, C] over blocks of 2x2."""
    return _block_sums(values) / 4


def _block_sums(values: Tensor) -> Tensor:
    return rearrange(values, "... (h p) (w q) c -> ... h p w q c", p=2, q=2).sum(dim=(-4, -2))


def _point_map(exo_camera: Camera, exo_depth: Depth, stride: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return world points [T, H, W, 3] float64 at a lower resolution, and which exist [T, H, W] (1 or 0)."""
    camera = exo_camera if exo_camera.is_fixed else exo_camera[::stride]
    world = camera.unproject(exo_depth.metric()[::stride].double()).permute(0, 3, 1, 2)  # [T, 3, height, width]
    valid = exo_depth.valid[::stride, None].to(world)  # [T, 1, height, width]
    if (world.shape[2], world.shape[3]) != size:
        resize = {"size": size, "mode": "bilinear", "align_corners": False}
        world, valid = interpolate(world * valid, **resize), interpolate(valid, **resize)
        # The pixels without depth dropped out of the sum; their share of the weight has to follow.
        world = world / valid.clamp_min(torch.finfo(valid.dtype).tiny)
    return world.permute(0, 2, 3, 1), (valid[:, 0] > 0).to(world)
