"""Payloads that no shipped workflow makes, as ComfyUI's newer cores and other packs write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def _load3d_camera() -> dict[str, Any]:
    place = {"x": 0.0, "y": 1.0, "z": 2.0}
    turn = {**place, "w": 1.0}
    return {"position": place, "target": {**place, "z": 0.0}, "quaternion": turn, "fov": 50.0, "zoom": 1,
            "cameraType": "perspective", "aspect": 1.0}  # fmt: skip


def _mhr_pose() -> dict[str, Any]:
    person = {
        "pred_keypoints_2d": np.ones((70, 2), np.float32) * 30,
        "pred_keypoints_3d": np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32),
        "pred_cam_t": np.float32([0, 0, 3]),
        "bbox": np.float32([10, 10, 60, 60]),
        "focal_length": np.float32(100),
    }
    return {"frames": [[dict(person)] for _ in range(5)], "image_size": (64, 128)}


def _kimodo_pose() -> dict[str, Any]:
    person = {
        "pred_joint_coords": np.random.default_rng(0).normal(size=(18, 3)).astype(np.float32),
        "pred_cam_t": np.float32([0, 0, 5]),
        "focal_length": np.float32(100),
    }
    places = np.stack([np.arange(18), np.full(18, -1)], axis=-1).astype(np.int32)
    rig = {"openpose18_joint_indices": places, "per_frame_y_down": False}
    return {"frames": [[dict(person)] for _ in range(5)], "image_size": (64, 128), "_skeleton_override": rig}


def _face_landmarks() -> dict[str, Any]:
    face = {"landmarks_xy": np.ones((478, 2), np.float32) * 30, "transformation_matrix": np.eye(4, dtype=np.float32)}
    return {"frames": [[dict(face)] for _ in range(5)], "image_size": (64, 128)}


def _moge_geometry() -> dict[str, Any]:
    depth = torch.rand(5, 64, 128) + 1
    intrinsics = torch.tensor([[0.8, 0, 0.5], [0, 1.6, 0.5], [0, 0, 1]]).repeat(5, 1, 1)
    return {"points": depth[..., None].repeat(1, 1, 1, 3), "depth": depth, "mask": depth > 1.1, "normal": None,
            "intrinsics": intrinsics, "image": torch.rand(5, 64, 128, 3)}  # fmt: skip


def _da3_geometry() -> dict[str, Any]:
    intrinsics = torch.tensor([[400.0, 0, 252], [0, 400, 126], [0, 0, 1]]).repeat(1, 5, 1, 1)
    return {"depth": torch.rand(5, 64, 128) + 1, "image": torch.rand(5, 64, 128, 3), "mode": "multiview",
            "sky": torch.rand(5, 64, 128) / 2, "confidence": torch.rand(5, 64, 128), "intrinsics": intrinsics,
            "extrinsics": torch.eye(4)[:3].repeat(1, 5, 1, 1)}  # fmt: skip


class _Splat:
    """As core's SPLAT: a plain class with tensors."""

    def __init__(self) -> None:
        self.positions, self.scales = torch.rand(1, 50, 3) + 1, torch.full((1, 50, 3), 0.01)
        self.rotations = torch.tensor([1.0, 0, 0, 0]).expand(1, 50, 4).clone()
        self.opacities, self.sh, self.counts = torch.ones(1, 50, 1), torch.rand(1, 50, 1, 3), None


def _sam3_track() -> dict[str, Any]:
    packed = torch.randint(0, 256, (5, 2, 16, 2), dtype=torch.uint8)
    return {"packed_masks": packed, "n_frames": 5, "scores": [0.9, 0.8], "orig_size": (64, 128)}


EXAMPLES: dict[str, Callable[[], Any]] = {
    "MASK": lambda: torch.zeros(5, 64, 128),
    "LOAD3D_CAMERA": _load3d_camera,
    "MHR_POSE_DATA": _mhr_pose,
    "FACE_LANDMARKS": _face_landmarks,
    "KIMODO_POSE_DATA": _kimodo_pose,
    "MOGE_GEOMETRY": _moge_geometry,
    "DA3_GEOMETRY": _da3_geometry,
    "SPLAT": _Splat,
    "SAM3_TRACK_DATA": _sam3_track,
    "INT": lambda: 3,
    "FLOAT": lambda: 0.5,
    "BOOLEAN": lambda: True,
    "STRING": lambda: "a text",
    "COMBO": lambda: "none",
}
