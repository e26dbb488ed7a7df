"""ComfyUI's LOAD3D_CAMERA: what the 3D viewers say of their camera.

    {"position": {"x", "y", "z"}, "target": {...}, "zoom": 1, "cameraType": "perspective" | "orthographic",
     "fov": vertical degrees, "quaternion": {"x", "y", "z", "w"}}

Older viewers leave out `fov` and `quaternion`: then the field of view must be known from elsewhere, and the camera
stands upright, looking at the target. `fov` is that of zoom 1: `zoom` multiplies the focal length. Axes: right-handed,
y up, and the camera looks along its own -z with x to the right (see `rotations`).

Nodes of newer cores (Batch Cameras, Create Camera Orbit) hand out a list of such dictionaries: one a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.messages import with_advice
from .camera import Camera
from .field_of_view import lens_of_fov, vertical_fov
from .rotations import HALF_TURN, look_at, matrices_to_quaternions, quaternions_to_matrices, rigid, y_up_swapped

# The viewers' own field of view where the camera does not tell it.
VIEWER_FOV = 35.0
# Focal lengths of one list that differ by less count as one: numbers pass through texts on their way.
_SAME_FOCAL = 1e-3


@with_advice("Connect camera_info of Load 3D, Preview 3D or what makes such a camera.")
def camera_from_load3d(
    info: dict[str, Any] | Sequence[dict[str, Any]], width: int, height: int, fov_degrees: float = VIEWER_FOV
) -> Camera:
    """Make a camera of `width` x `height` pixels: fixed, or of a list with one pose a frame.

    Args:
        info: see the module.
        width: image width in pixels.
        height: image height in pixels.
        fov_degrees: vertical field of view where `info` has none.

    Raises:
        ValueError: if a camera is orthographic, lacks numbers, looks nowhere, or its zoom is not above 0; or if those
            of a list differ in their field of view.
    """
    if not isinstance(info, list | tuple):
        return _fixed(info, width, height, fov_degrees)
    if not info:
        raise ValueError("The list of 3D viewers' cameras is empty.")
    cameras = []
    for one in info:
        cancel_point()
        cameras.append(_fixed(one, width, height, fov_degrees))
    focal = [camera.lens.fy for camera in cameras]
    if max(focal) > min(focal) * (1 + _SAME_FOCAL):
        fields = sorted(vertical_fov(camera) for camera in cameras)
        raise ValueError(
            f"The {len(cameras)} cameras of the list have vertical fields of view from {fields[0]:.1f} to "
            f"{fields[-1]:.1f} degrees, and a clip has one lens. Give all the same fov and zoom."
        )
    return replace(cameras[0], world_to_camera=torch.cat([camera.world_to_camera for camera in cameras]))


def _fixed(info: Any, width: int, height: int, fov_degrees: float) -> Camera:
    if not isinstance(info, dict):
        raise ValueError(f"Expected a LOAD3D_CAMERA, which is a dictionary, got {type(info).__name__}.")
    if info.get("cameraType", "perspective") != "perspective":
        raise ValueError(
            "The 3D viewer's camera is orthographic, which this pack does not support. Switch it to perspective."
        )
    position = _vector(info, "position", "xyz")
    if info.get("quaternion"):
        quaternion = _vector(info, "quaternion", "wxyz")
        if not float(quaternion.norm()) > 1e-6:
            raise ValueError(f"The 'quaternion' of a LOAD3D_CAMERA is zero: {info['quaternion']}.")
        rotation = quaternions_to_matrices(torch.nn.functional.normalize(quaternion, dim=0))
        pose = y_up_swapped(rigid(rotation, position))
    else:
        target = _vector(info, "target", "xyz")
        if not float((position - target).norm()) > 1e-9:
            raise ValueError("The 3D viewer's camera is at its target, so it has no viewing direction. Move it back.")
        position, target = (HALF_TURN[:3, :3] @ place for place in (position, target))
        pose = rigid(look_at(position, target), position)
    zoom = _number(info, "zoom", 1.0)
    if not 0 < zoom < math.inf:
        raise ValueError(f"'zoom' of a LOAD3D_CAMERA is a number above 0, got {info['zoom']!r:.80}.")
    # Core's own nodes, too, take no field of view and 0 for the viewers' own.
    lens = lens_of_fov(_number(info, "fov", fov_degrees) if info.get("fov") else fov_degrees, width, height)
    lens = replace(lens, fx=zoom * lens.fx, fy=zoom * lens.fy)
    return Camera(lens, width, height, torch.linalg.inv(pose))


def camera_to_load3d(camera: Camera, frame: int = 0, target_distance: float = 1.0) -> dict[str, Any]:
    """Return one frame of a camera as LOAD3D_CAMERA.

    Args:
        camera: of its lens the field of view is kept; `pinhole_only.lost_without_lens` says what is lost.
        frame: number of the pose.
        target_distance: metres ahead of the camera at which the viewer's orbit gets its middle.

    Raises:
        ValueError: if there is no such frame.
    """
    if not 0 <= frame < camera.n_frames:
        raise ValueError(
            f"The camera has the frames 0 to {camera.n_frames - 1}; there is no frame {frame}. Choose one of them."
        )
    pose = y_up_swapped(camera.camera_to_world[frame])
    quaternion = matrices_to_quaternions(pose[:3, :3])
    return {
        "position": dict(zip("xyz", pose[:3, 3].tolist())),
        "target": dict(zip("xyz", (pose[:3, 3] - target_distance * pose[:3, 2]).tolist())),
        "zoom": 1,
        "cameraType": "perspective",
        "fov": vertical_fov(camera),
        "quaternion": dict(zip("wxyz", quaternion.tolist())),
    }


def _number(info: dict[str, Any], key: str, default: float) -> float:
    value = info.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key!r} of a LOAD3D_CAMERA is a number, got {value!r:.80}.")
    return float(value)


def _vector(info: dict[str, Any], key: str, axes: str) -> Tensor:
    """Return {"x": ..., "y": ..., "z": ...} as a tensor in the order of `axes`."""
    entry = info.get(key)
    try:
        vector = torch.tensor([float(entry[axis]) for axis in axes], dtype=torch.float64)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{key!r} of a LOAD3D_CAMERA is an object with the numbers {', '.join(axes)}, got {entry!r:.80}."
        ) from error
    if not torch.isfinite(vector).all():
        raise ValueError(f"{key!r} of a LOAD3D_CAMERA must be finite, got {entry!r:.80}.")
    return vector
