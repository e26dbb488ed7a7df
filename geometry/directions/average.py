"""Directions averaged over patches of pixels and frames, as the paper describes them (section F.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ...common.wan_grid import SPATIAL_STRIDE
from ..cameras.camera import Camera
from ..depth.depth import Depth


def averaged_rays(ego_camera: Camera, groups: Sequence[slice], tokens: tuple[int, int]) -> Tensor:
    """Return the mean ray of every ego patch, of unit length [T, rows, columns, 3].

    Args:
        ego_camera: F poses; its image is taken at 16 pixels a token.
        groups: the frames behind each of the T latent frames.
        tokens: (rows, columns).
    """
    rows, columns = tokens
    local = ego_camera.resized(SPATIAL_STRIDE * columns, SPATIAL_STRIDE * rows).local_rays  # [H, W, 3]
    patches = adaptive_avg_pool2d(local.permute(2, 0, 1), tokens)  # [3, rows, columns]
    # Averaging over frames and rotating are both linear: rotate the patch means by the mean rotation.
    rotations = torch.stack([ego_camera.camera_to_world[group, :3, :3].mean(dim=0) for group in groups])
    return normalize(torch.einsum("tij,jhw->thwi", rotations, patches), dim=-1)


def averaged_keys(
    exo_camera: Camera,
    exo_depth: Depth,
    ego_camera: Camera,
    groups: Sequence[slice],
    tokens: tuple[int, int],
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the mean direction to the points of every exo patch, of unit length.

    A query's latent frame has one centre, the mean of its frames' centres; the key's patch is averaged over all its
    pixels with depth in all its frames.

    Args:
        exo_camera: fixed or F poses, of the depth's size.
        exo_depth: metric depth of F frames.
        ego_camera: F poses.
        groups: the frames behind each of the T latent frames.
        tokens: (rows, columns).
        progress: called with (frames done, F).

    Returns:
        [query frame T, key frame T, rows, columns, 3]; zero where a patch has no depth.
    """
    exo_camera = exo_camera.expanded(exo_depth.n_frames)
    centers = torch.stack([ego_camera.centers[group].mean(dim=0) for group in groups])  # [T, 3]
    # A fixed ego camera has one centre: count it once.
    centers, query_center = torch.unique(centers, dim=0, return_inverse=True)
    origin = centers.mean(dim=0)  # near the centres, so that float32 loses nothing on far worlds
    sums = torch.zeros(len(centers), len(groups), 3, *tokens)
    for key_frame, group in enumerate(groups):
        for frame in range(group.start, group.stop):
            points, valid = _points(exo_camera, exo_depth, frame, origin)
            for index, center in enumerate((centers - origin).float()):
                offsets = points - center[:, None, None]  # [3, H, W]
                directions = offsets * (valid * offsets.square().sum(dim=0).rsqrt())
                sums[index, key_frame] += adaptive_avg_pool2d(directions, tokens)
            if progress is not None:
                progress(frame + 1, exo_depth.n_frames)
    keys = normalize(sums, dim=2).permute(0, 1, 3, 4, 2)  # [centres, T, rows, columns, 3]
    return keys[query_center]


def _points(exo_camera: Camera, exo_depth: Depth, frame: int, origin: Tensor) -> tuple[Tensor, Tensor]:
    """Return a frame's points from the origin [3, H, W] float32, and where there are any [H, W] (1 or 0)."""
    world = exo_camera[frame].unproject(exo_depth.metric()[frame : frame + 1].double())[0]  # [H, W, 3]
    points = (world - origin).float().permute(2, 0, 1).contiguous()
    return points, exo_depth.valid[frame].to(points)
