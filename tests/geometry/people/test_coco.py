"""COCO's joints as POSE_KEYPOINT, read back by the pack's own reader and held against tables of the two formats."""

from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.head.keypoints import Joint
from exo2ego.geometry.head.openpose import read_openpose
from exo2ego.geometry.people.coco import LIMBS, coco_frames, openpose_body

COCO = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
]
OPENPOSE = [
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
]
WIDTH, HEIGHT = 640, 360


def people(n_joints: int = 17) -> torch.Tensor:
    """Two people in three frames; the second is not there in the second frame."""
    joints = torch.rand(2, 3, n_joints, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    joints[..., :2] = joints[..., :2] * 200 + 10
    joints[..., 2] = joints[..., 2] / 2 + 0.5
    joints[1, 1] = 0
    return joints


def test_every_joint_by_its_name():
    joints = people()[0, 0]
    body = openpose_body(joints)
    for number, name in enumerate(OPENPOSE):
        if name != "neck":
            assert torch.equal(body[number], joints[COCO.index(name)]), name
    left, right = (joints[COCO.index(f"{side}_shoulder")] for side in ("left", "right"))
    assert torch.allclose(body[1, :2], (left[:2] + right[:2]) / 2)
    assert body[1, 2] == min(left[2], right[2])


def test_no_neck_without_both_shoulders():
    joints = people()[0, 0]
    joints[COCO.index("left_shoulder")] = 0
    assert openpose_body(joints)[1].tolist() == [0, 0, 0]


def test_the_packs_reader_takes_it():
    joints = people()
    read = read_openpose(coco_frames(joints, WIDTH, HEIGHT))
    assert (read.width, read.height) == (WIDTH, HEIGHT)
    assert [len(frame) for frame in read.frames] == [2, 1, 2]
    for joint in (Joint.NOSE, Joint.LEFT_EAR, Joint.RIGHT_HIP):
        expected = joints[:, 0, COCO.index(joint.name.lower())]
        assert torch.allclose(read.frames[0].pixels[:, joint], expected[:, :2])
        assert torch.allclose(read.frames[0].confidence[:, joint], expected[:, 2])


def test_a_whole_body_has_face_and_hands():
    joints = people(133)
    frames = coco_frames(joints, WIDTH, HEIGHT)
    entry = frames[2]["people"][1]
    lengths = {name: len(numbers) // 3 for name, numbers in entry.items()}
    assert lengths == {
        "pose_keypoints_2d": 18,
        "face_keypoints_2d": 68,
        "hand_left_keypoints_2d": 21,
        "hand_right_keypoints_2d": 21,
    }
    assert entry["face_keypoints_2d"][:3] == joints[1, 2, 23].tolist()
    assert entry["hand_left_keypoints_2d"][:3] == joints[1, 2, 91].tolist()
    assert entry["hand_right_keypoints_2d"][-3:] == joints[1, 2, 132].tolist()
    # The reader's nose is the face's tip, the 31st of its points.
    assert torch.allclose(read_openpose(frames).frames[2].pixels[1, Joint.NOSE], joints[1, 2, 23 + 30, :2])


def test_joints_that_were_not_found_are_zero():
    joints = people()
    joints[0, 0, 9] = torch.tensor([50, 60, 0])
    joints[0, 0, 10] = torch.nan
    numbers = torch.tensor(coco_frames(joints, WIDTH, HEIGHT)[0]["people"][0]["pose_keypoints_2d"]).view(-1, 3)
    for name in ("left_wrist", "right_wrist"):
        assert numbers[OPENPOSE.index(name)].tolist() == [0, 0, 0]


def test_limbs_join_neighbours():
    named = {frozenset((OPENPOSE[a], OPENPOSE[b])) for a, b in LIMBS}
    assert frozenset(("left_elbow", "left_wrist")) in named
    assert frozenset(("right_hip", "right_knee")) in named
    assert len(named) == 17


def test_another_number_of_joints():
    with pytest.raises(ValueError, match="17 joints of COCO's body or 133 of its whole body, got 21"):
        openpose_body(torch.zeros(21, 3))
