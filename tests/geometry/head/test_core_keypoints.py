"""MHR_POSE_DATA and FACE_LANDMARKS, made here after the sources of newer cores, against heads whose axes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from exo2ego.geometry.cameras.rotations import matrices_to_vectors, shortest_turns, vectors_to_matrices
from exo2ego.geometry.head.core_keypoints import read_face_landmarks, read_kimodo, read_mhr
from exo2ego.geometry.head.keypoints import HEAD_JOINTS, Joint
from exo2ego.geometry.head.model import HEAD_POINTS

WIDTH, HEIGHT = 640, 360
FOCAL = 500.0
PLACE = torch.tensor([0.4, -0.2, 2.5], dtype=torch.float64)


def head() -> Tensor:
    """A head that faces the camera, turned aside by 30 degrees and bent down by 20; OpenCV axes."""
    facing = vectors_to_matrices(torch.tensor([0.0, math.pi, 0.0], dtype=torch.float64))
    turn = vectors_to_matrices(torch.tensor([0.0, math.radians(30), 0.0], dtype=torch.float64))
    return facing @ turn @ vectors_to_matrices(torch.tensor([-math.radians(20), 0.0, 0.0], dtype=torch.float64))


def project(points: Tensor) -> Tensor:
    return points[..., :2] / points[..., 2:] * FOCAL + torch.tensor([WIDTH / 2, HEIGHT / 2])


def mhr_person() -> dict:
    solid = torch.zeros(70, 3, dtype=torch.float64)
    solid[: len(HEAD_JOINTS)] = 1.1 * (HEAD_POINTS @ head().T)
    solid[[5, 6]] = torch.tensor([[0.18, 0.25, 0.0], [-0.18, 0.25, 0.0]], dtype=torch.float64)
    return {
        "pred_keypoints_3d": solid.float().numpy(),
        "pred_keypoints_2d": project(solid + PLACE).float().numpy(),
        "pred_cam_t": PLACE.float().numpy(),
        "focal_length": np.float32(FOCAL),
    }


def face() -> dict:
    points = torch.zeros(478, 2, dtype=torch.float64)
    nose, left, right = (HEAD_POINTS[joint] @ head().T + PLACE for joint in HEAD_JOINTS[:3])
    points[1] = project(nose)
    points[[33, 133]] = project(right) + torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    points[[362, 263]] = project(left) + torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    matrix = torch.eye(4, dtype=torch.float64)
    # MediaPipe's face: x to the person's left, y up, z ahead; its camera: y up, looks along -z; centimetres.
    matrix[:3, :3] = 1.3 * flip @ head() @ torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = 100 * flip @ PLACE
    return {"landmarks_xy": points.float().numpy(), "transformation_matrix": matrix.float().numpy(), "score": 0.9}


def payload(*frames: list) -> dict:
    return {"frames": list(frames), "image_size": (HEIGHT, WIDTH)}


def axes_in_camera(rotation: Tensor) -> Tensor:
    """Turn axes seen straight on back to where the head is."""
    ray = torch.nn.functional.normalize(PLACE, dim=0)
    return shortest_turns(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), ray) @ rotation


@pytest.mark.parametrize(("read", "person"), [(read_mhr, mhr_person()), (read_face_landmarks, face())])
def test_joints_and_axes(read, person):
    people = read(payload([person], [], [person, person]))
    assert [len(found) for found in people.frames] == [1, 0, 2]
    assert (people.width, people.height) == (WIDTH, HEIGHT)
    found = people.frames[0]
    for joint in (Joint.NOSE, Joint.LEFT_EYE, Joint.RIGHT_EYE):
        scale = 1.1 if read is read_mhr else 1.0
        expected = project(scale * (HEAD_POINTS[joint] @ head().T) + PLACE)
        assert (found.pixels[0, joint] - expected).norm() < 0.01
    error = matrices_to_vectors(head().T @ axes_in_camera(found.rotations[0])).norm().rad2deg()
    assert error < 3  # the two estimators' middle of the head differs by some centimetres, which turns the ray


def test_the_two_sides_of_mhr():
    found = read_mhr(payload([mhr_person()])).frames[0]
    assert found.pixels[0, Joint.LEFT_SHOULDER, 0] > found.pixels[0, Joint.RIGHT_SHOULDER, 0]
    assert found.pixels[0, Joint.LEFT_EYE, 0] > found.pixels[0, Joint.RIGHT_EYE, 0]


def test_a_face_that_was_filled_in_has_no_axes():
    person = face()
    del person["transformation_matrix"]
    found = read_face_landmarks(payload([person])).frames[0]
    assert not found.has_rotation.any()
    assert found.seen[0, Joint.NOSE]
    assert not found.seen[0, Joint.LEFT_EAR]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_mhr, [], "dictionary with a list"),
        (read_mhr, {"frames": None}, "dictionary with a list"),
        (read_mhr, {"frames": [[]]}, "image_size"),
        (read_mhr, payload([7]), "frame 0 of MHR_POSE_DATA"),
        (read_mhr, payload([{"pred_keypoints_2d": np.zeros((70, 2))}]), "pred_keypoints_3d"),
        (read_mhr, payload([mhr_person() | {"pred_keypoints_2d": np.zeros((17, 2))}]), r"\[70, 2\]"),
        (read_mhr, payload([mhr_person() | {"pred_cam_t": np.full(3, np.nan)}]), "NaN"),
        (read_face_landmarks, payload([{"landmarks_xy": np.zeros((68, 2))}]), "at least 468"),
        (read_face_landmarks, payload([face() | {"transformation_matrix": np.zeros((3, 4))}]), r"\[4, 4\]"),
    ],
)
def test_what_is_refused(read, content, message):
    with pytest.raises(ValueError, match=message):
        read(content)


# Kimodo -------------------------------------------------------------------------------------------------------------

# OpenPose's 18 joints: nose, neck, right arm, left arm, right leg, left leg, eyes, ears (the right ones first).
_OPENPOSE = {Joint.NOSE: 0, Joint.NECK: 1, Joint.RIGHT_SHOULDER: 2, Joint.LEFT_SHOULDER: 5, Joint.RIGHT_EYE: 14,
             Joint.LEFT_EYE: 15, Joint.RIGHT_EAR: 16, Joint.LEFT_EAR: 17}  # fmt: skip


def rig(y_down: bool, **change) -> tuple[dict, Tensor]:
    """A rig whose joints stand in another order than OpenPose's; one joint lies between two of the rig's."""
    solid = torch.zeros(18, 3, dtype=torch.float64)
    for place, joint in enumerate(HEAD_JOINTS):
        solid[_OPENPOSE[joint]] = HEAD_POINTS[place] @ head().T
    solid[2], solid[5] = torch.tensor([[-0.18, 0.25, 0.0], [0.18, 0.25, 0.0]], dtype=torch.float64)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    joints = torch.zeros(20, 3, dtype=torch.float64)
    joints[order] = solid
    joints[18], joints[19] = solid[0] + 0.3, solid[0] - 0.1  # the nose is a quarter of the way from 19 to 18
    pairs = torch.stack([order, torch.full((18,), -1)], dim=-1)
    pairs[0] = torch.tensor([18, 19])
    weights = torch.full((18,), 0.5)
    weights[0] = 0.25
    flip = torch.ones(3) if y_down else torch.tensor([1.0, -1.0, -1.0])
    person = {
        "pred_joint_coords": (joints * flip).float().numpy(),
        "pred_cam_t": PLACE.float().numpy(),
        "focal_length": np.float32(FOCAL),
    }
    override = {
        "openpose18_joint_indices": pairs.int().numpy(),
        "openpose18_joint_weights": weights.numpy(),
        "per_frame_y_down": y_down,
        **change,
    }
    return {**payload([person], []), "_skeleton_override": override}, solid


@pytest.mark.parametrize("y_down", [False, True])
def test_a_rig_stands_where_core_draws_it(y_down):
    given, solid = rig(y_down)
    first, second = read_kimodo(given).frames
    for joint, place in _OPENPOSE.items():
        expected = project(solid[place] + PLACE)
        assert torch.allclose(first.pixels[0, joint], expected, atol=1e-2), joint
    ahead = torch.nn.functional.normalize(PLACE, dim=0)
    expected = shortest_turns(ahead, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)) @ head()
    assert math.degrees(float(matrices_to_vectors(first.rotations[0] @ expected.T).norm())) < 3
    assert len(second.pixels) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"openpose18_joint_indices": np.zeros((17, 2))}, "openpose18_joint_indices"),
        ({"openpose18_joint_indices": np.full((18, 2), 40)}, "20 joints, and its rig's map names others"),
        ({"openpose18_joint_weights": np.ones(3)}, "openpose18_joint_weights"),
    ],
)
def test_what_is_no_rig(change, said):
    with pytest.raises(ValueError, match=said):
        read_kimodo(rig(False, **change)[0])
    with pytest.raises(ValueError, match="_skeleton_override"):
        read_kimodo(payload([]))
