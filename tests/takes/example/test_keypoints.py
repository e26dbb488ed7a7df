"""The example figure's joints: where the picture shows them, and what Head Pose makes of them from each side."""

from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.head.keypoints import HEAD_JOINTS, Joint
from exo2ego.geometry.head.pose import estimate_head_pose
from exo2ego.takes.example.keypoints import example_keypoints
from exo2ego.takes.example.room import ExampleRoom
from support.people import direction_errors
from support.tensor_memory import counted_tensors

WIDTH, HEIGHT, N_FRAMES = 392, 224, 9


@pytest.fixture(scope="module")
def room() -> ExampleRoom:
    return ExampleRoom(N_FRAMES)


@pytest.mark.parametrize("side", range(4))
def test_the_ego_camera_from_each_side(room, side):
    """From behind, from the side and from before: the figure's own ego camera comes back."""
    camera = room.exo_cameras(WIDTH, HEIGHT)[side]
    keypoints = example_keypoints(room, camera)
    depth = Depth(room.geometry(camera)[0], DepthMeaning.METRIC)
    truth = room.ego_camera(camera.lens, WIDTH, HEIGHT)
    found = estimate_head_pose(keypoints, depth, camera, camera.lens, WIDTH, HEIGHT, smoothing=0)
    distance = (found.camera.centers - truth.centers).norm(dim=-1).median()
    angle = direction_errors(found.camera.rotations.mT, truth.rotations.mT).median()
    print(f"side {side}: {100 * distance:.1f} cm, {angle:.1f} degrees")
    assert distance < 0.10  # the head is a ball: its joints lie up to 5 cm under the surface
    assert angle < 15
    assert found.filled_frames == ()


def test_the_joints_lie_on_the_figure(room):
    camera = room.exo_camera(WIDTH, HEIGHT)
    keypoints = example_keypoints(room, camera)
    _, dynamic = room.geometry(camera)
    for frame in range(N_FRAMES):
        for joint in Joint:
            if keypoints.seen[frame, joint] and joint is not Joint.NOSE:  # the ball has no nose
                column, row = keypoints.pixels[frame, joint].long().tolist()
                assert dynamic[frame, row - 2 : row + 3, column - 2 : column + 3].any(), joint
    assert keypoints.seen[:, Joint.RIGHT_EAR].all()  # the exo camera stands behind the right shoulder
    assert not keypoints.seen[:, Joint.LEFT_EAR].any()


def test_left_and_right_seen_from_before(room):
    camera = room.exo_cameras(WIDTH, HEIGHT)[3]
    keypoints = example_keypoints(room, camera)
    column = keypoints.pixels[..., 0]
    assert (column[:, Joint.LEFT_SHOULDER] > column[:, Joint.RIGHT_SHOULDER]).all()
    assert (column[:, Joint.LEFT_EYE] > column[:, Joint.RIGHT_EYE]).all()
    assert keypoints.seen[:, list(HEAD_JOINTS)[:3]].all()
    assert torch.isnan(keypoints.rotations).all()


def test_a_long_clip_needs_no_depth_maps():
    """What is held does not grow by an image a frame: 239 frames at this size took 1.7 GB."""
    room = ExampleRoom(25)
    camera = room.exo_camera(784, 448)
    with counted_tensors() as memory:
        example_keypoints(room, camera)
    assert memory.peak < 784 * 448 * 8  # one depth map in float64
