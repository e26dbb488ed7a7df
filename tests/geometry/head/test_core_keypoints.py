"""MHR_POSE_DATA and FACE_LANDMARKS, made here after the sources of newer cores, against heads whose axes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from exo2ego.geometry.cameras.rotations import matrices_to_vectors, shortest_turns, vectors_to_matrices
from exo2ego.geometry.head.core_keypoints import read_face_landmarks, read_mhr
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
