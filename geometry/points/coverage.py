"""What the coverage of an ego prior tells: where a clip stands, and which mistake a pose that sees little may be."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..cameras.camera import Camera
from .point_cloud import PointCloud
from .quick_view import quick_view

# Mean coverage of EgoX's own takes, in percent.
USUAL_LOW, USUAL_HIGH = 35.0, 60.0
# Another reading of a pose is named if it sees so much of the picture, and so much more than the pose as it was given.
# On real takes a right pose saw 28 and 37% in short clips, and the best of its misreadings 15 and 21%.
_SEES_ENOUGH, _SEES_MORE, _TIMES = 20.0, 12.0, 1.5
_LOOKS, _SIDE = 3, 96  # frames that are looked at, and the longer side of their pictures


def coverage_verdict(mean_percent: float) -> str:
    """Return where a clip's mean coverage stands among EgoX's own takes, as a sentence."""
    usual = f"EgoX's own takes lie between about {USUAL_LOW:.0f} and {USUAL_HIGH:.0f}%"
    if mean_percent < USUAL_LOW:
        return f"{usual}: this is below, so more is left to invent than the model was trained on."
    if mean_percent <= USUAL_HIGH:
        return f"{usual}: this is among them."
    return (
        f"{usual}: this is above, as of a camera that sees much of what the exo camera does, or that wears the scene."
    )


def misread_pose(cloud: PointCloud, camera: Camera, mean_percent: float, device: torch.device | str = "cpu") -> str:
    """Name the mistake that explains why a camera sees little: if its poses, read otherwise, see the scene.

    Args:
        cloud: what the camera looks at.
        camera: with its poses as they were given.
        mean_percent: what it covers as it is.
        device: where small pictures are rendered.

    Returns:
        A sentence; empty if coverage is usual, or no other reading sees clearly more.
    """
    if mean_percent >= USUAL_LOW:
        return ""
    frames = torch.linspace(0, cloud.n_frames - 1, min(_LOOKS, cloud.n_frames)).round().long().tolist()
    few = replace(
        cloud,
        frame_points=tuple(cloud.frame_points[frame] for frame in frames),
        frame_colors=tuple(cloud.frame_colors[frame] for frame in frames),
    )
    poses = camera.world_to_camera if camera.is_fixed else camera.world_to_camera[frames]
    found = {}
    for name, other in _readings(poses).items():
        view = quick_view(few, replace(camera, world_to_camera=other), _SIDE, device=device)
        found[name] = float(view.coverage_percent.mean())
    best = max(found, key=found.__getitem__)
    if found[best] < max(_SEES_ENOUGH, mean_percent + _SEES_MORE, _TIMES * mean_percent):
        return ""
    return (
        f"{best} would see {found[best]:.0f}%, so that the poses are probably given so. Poses are world-to-camera, row "
        "by row, OpenCV's axes (x right, y down, z forward): convert them."
    )


def _readings(poses: Tensor) -> dict[str, Tensor]:
    """Return poses [F, 4, 4] as what they may be by mistake."""
    transposed = poses.clone()
    transposed[:, :3, :3] = poses[:, :3, :3].mT
    flip = torch.diag(poses.new_tensor([1.0, -1.0, -1.0, 1.0]))
    inverse = torch.linalg.inv(poses)
    return {
        "The inverse of these poses (camera-to-world matrices)": inverse,
        "These poses with their rotations transposed": transposed,
        "These poses with OpenGL's axes (y up, looking along -z)": flip @ poses,
        "The inverse of these poses with OpenGL's axes (as Blender gives matrix_world)": flip @ inverse,
    }
