"""The example figure's joints as a pose estimator would mark them, without one."""

from __future__ import annotations

import math

import torch

from ...geometry.cameras.camera import Camera
from ...geometry.cameras.rotations import vectors_to_matrices
from ...geometry.head.keypoints import HEAD_JOINTS, Keypoints
from ...geometry.head.model import HEAD_POINTS
from ...geometry.head.pose import DEFAULT_TILT
from .room import ExampleRoom

_CONFIDENCE = 0.9
# A joint of the head this far behind the surface is hidden, metres; less is what lies between a joint and the skin.
_HIDDEN = 0.07


def example_keypoints(room: ExampleRoom, camera: Camera) -> Keypoints:
    """Project the figure's joints into an exo camera; joints of the head that something hides are not found.

    The figure's ego camera looks where it works, so its face looks `DEFAULT_TILT` above that.

    Returns:
        Keypoints of the room's frames, in the camera's pixels.
    """
    raised = vectors_to_matrices(torch.tensor([math.radians(DEFAULT_TILT), 0.0, 0.0], dtype=torch.float64))
    joints = room.joints(HEAD_POINTS @ raised.T)  # [F, J, 3]
    keypoints = Keypoints.none(room.n_frames)
    pixels, confidence = keypoints.pixels, keypoints.confidence
    for frame in range(room.n_frames):
        pixels[frame], z, visible = camera.project(joints[frame], frame)
        corner, size = pixels[frame].floor(), pixels.new_tensor([camera.width, camera.height])
        inside = visible & ((corner >= 0) & (corner < size)).all(dim=-1)
        # Of these few pixels alone: whole depth maps of a long clip are gigabytes.
        centers = torch.minimum(corner.clamp_min(0), size - 1) + 0.5
        hidden = z - room.depth_at(camera, frame, centers) > _HIDDEN
        hidden[len(HEAD_JOINTS) :] = False  # estimators place shoulders and hips under clothes and behind arms
        confidence[frame] = _CONFIDENCE * (inside & ~hidden)
    return Keypoints(pixels, confidence, keypoints.rotations)
