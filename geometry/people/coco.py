"""COCO's joints, 17 of a body or 133 of a whole one, as POSE_KEYPOINT: OpenPose's JSON, one dictionary a frame.

COCO whole-body counts 17 joints of the body, 6 of the feet, 68 of the face (iBUG's scheme) and 21 of each hand, left
first. OpenPose's body of 18 has a neck, which is put between the shoulders, as DWPose does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point

BODY, WHOLE_BODY = 17, 133

# Of OpenPose's 18 joints, which of COCO's each is; the neck is none of them.
_NECK = 1
_OPENPOSE_OF_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6
_FACE, _LEFT_HAND, _RIGHT_HAND = slice(23, 91), slice(91, 112), slice(112, 133)

# Pairs of OpenPose's joints that a drawing joins.
LIMBS = (
    *((1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)  # fmt: skip


def openpose_body(joints: Tensor) -> Tensor:
    """Return OpenPose's 18 joints [..., 18, 3] of COCO's [..., 17 or 133, 3]: column, row, confidence.

    Raises:
        ValueError: if there is another number of joints.
    """
    if joints.shape[-2] not in (BODY, WHOLE_BODY):
        raise ValueError(
            f"Expected {BODY} joints of COCO's body or {WHOLE_BODY} of its whole body, got {joints.shape[-2]}."
        )
    body = joints[..., torch.tensor(_OPENPOSE_OF_COCO).clamp_min(0), :].clone()
    shoulders = joints[..., [_LEFT_SHOULDER, _RIGHT_SHOULDER], :]
    body[..., _NECK, :2] = shoulders[..., :2].mean(dim=-2)
    body[..., _NECK, 2] = shoulders[..., 2].amin(dim=-1)
    return torch.where(body[..., 2:] > 0, body, 0.0)


def coco_frames(people: Tensor, width: int, height: int) -> list[dict[str, Any]]:
    """Write people as POSE_KEYPOINT.

    Args:
        people: their joints [P, F, 17 or 133, 3] as column and row in pixels and confidence; confidence 0 or NaN in
            frames and for joints that were not found.
        width: of the pictures, in pixels.
        height: likewise.

    Returns:
        A dictionary a frame with the people who are there, in the given order: 18 joints of the body, and of a whole
        body 68 points of the face and 21 of each hand, too. Coordinates are pixels.
    """
    frames = []
    for frame in range(people.shape[1]):
        cancel_point()
        there = []
        for joints in people[:, frame].nan_to_num(0.0):
            joints = torch.where(joints[:, 2:] > 0, joints, 0.0)
            if not bool((joints[:, 2] > 0).any()):
                continue
            entry = {"pose_keypoints_2d": openpose_body(joints).flatten().tolist()}
            if len(joints) == WHOLE_BODY:
                entry["face_keypoints_2d"] = joints[_FACE].flatten().tolist()
                entry["hand_left_keypoints_2d"] = joints[_LEFT_HAND].flatten().tolist()
                entry["hand_right_keypoints_2d"] = joints[_RIGHT_HAND].flatten().tolist()
            there.append(entry)
        frames.append({"people": there, "canvas_width": width, "canvas_height": height})
    return frames
