"""A camera as glTF 2.0, which Blender opens by File > Import > glTF 2.0: one animated camera in one `.gltf` file.

Axes: y up, the camera looks along its own -z (ours turned half around x: (x, y, z) -> (x, -y, -z)); metres. Blender
turns that into its own z up by itself. Frame f is at f / fps seconds: set the scene's frame rate to `fps` before the
import, and every pose is a key on a whole frame. Numbers of animations are float32.

glTF knows a lens by its vertical field of view alone. The whole lens and the picture's size are written beside it, in
the camera's `extras` (Blender: custom properties), with a sentence on what the field of view leaves out.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

from ...geometry.cameras.camera import Camera
from ...geometry.cameras.field_of_view import lost_without_lens, vertical_fov
from ...geometry.cameras.rotations import matrices_to_quaternions, y_up_swapped
from ...geometry.lenses import lens_to_json

LENS_KEY = "exo2ego_lens"

_NAME = "ego camera"
_FLOAT = 5126  # glTF's number for float32
_NEAR = 0.01  # metres


def gltf_text(camera: Camera, fps: float) -> str:
    """Return a camera as the text of a `.gltf` file, with its numbers inside.

    Args:
        camera: a fixed camera becomes a camera without animation.
        fps: frames a second.

    Raises:
        ValueError: if `fps` is not positive.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"Frames a second must be a positive number, got {fps}.")
    poses = y_up_swapped(camera.camera_to_world)
    translations = poses[:, :3, 3].numpy().astype("<f4")
    rotations = _continuous(matrices_to_quaternions(poses[:, :3, :3]).roll(-1, dims=-1).numpy()).astype("<f4")
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "ComfyUI-Exo2Ego"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": _NAME, "camera": 0, "translation": translations[0].tolist(), "rotation": rotations[0].tolist()}
        ],
        "cameras": [_camera(camera)],
    }
    if not camera.is_fixed:
        times = (np.arange(camera.n_frames) / fps).astype("<f4")
        content |= _animation(times, translations, rotations)
    return json.dumps(content, indent=1)


def _camera(camera: Camera) -> dict[str, Any]:
    lost = lost_without_lens(camera)
    perspective = {
        "yfov": math.radians(vertical_fov(camera)),
        "aspectRatio": camera.width / camera.height,
        "znear": _NEAR,
    }
    extras = {
        LENS_KEY: {"width": camera.width, "height": camera.height, **lens_to_json(camera.lens)},
        "exo2ego_note": f"{lost}; the whole lens is in {LENS_KEY}" if lost else "the field of view is the whole lens",
    }
    return {"name": _NAME, "type": "perspective", "perspective": perspective, "extras": extras}


def _animation(times: np.ndarray, translations: np.ndarray, rotations: np.ndarray) -> dict[str, Any]:
    """Return the animation of node 0 with what it refers to."""
    columns = [(times, "SCALAR"), (translations, "VEC3"), (rotations, "VEC4")]  # rotations (x, y, z, w)
    views, accessors, data = [], [], b""
    for number, (values, kind) in enumerate(columns):
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes})
        accessors.append({"bufferView": number, "componentType": _FLOAT, "count": len(values), "type": kind})
        data += values.tobytes()
    accessors[0] |= {"min": [float(times[0])], "max": [float(times[-1])]}
    return {
        "animations": [
            {
                "name": _NAME,
                "channels": [
                    {"sampler": number, "target": {"node": 0, "path": path}}
                    for number, path in enumerate(("translation", "rotation"))
                ],
                "samplers": [{"input": 0, "output": output, "interpolation": "LINEAR"} for output in (1, 2)],
            }
        ],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [
            {
                "byteLength": len(data),
                "uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode("ascii"),
            }
        ],
    }


def _continuous(quaternions: np.ndarray) -> np.ndarray:
    """Turn signs so that each quaternion [F, 4] is on the side of the one before: readers may blend component-wise."""
    same_side = (quaternions[1:] * quaternions[:-1]).sum(axis=1) >= 0
    signs = np.cumprod(np.concatenate([[1], np.where(same_side, 1, -1)]))
    return quaternions * signs[:, None]
