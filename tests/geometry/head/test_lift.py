"""Depth at joints: of the body, not of the wall behind it or of somebody who passes before it."""

from __future__ import annotations

import torch

from exo2ego.geometry.head.keypoints import N_JOINTS, Joint, Keypoints
from exo2ego.geometry.head.lift import joint_depths

F, HEIGHT, WIDTH = 9, 100, 200
BODY = slice(60, 140)  # columns


def scene() -> tuple[Keypoints, torch.Tensor]:
    """A body 2 m away before a wall at 5 m; its joints lie in a row well inside it."""
    metres = torch.full((F, HEIGHT, WIDTH), 5.0)
    metres[:, :, BODY] = 2.0
    keypoints = Keypoints.none(F)
    keypoints.pixels[..., 0] = torch.linspace(70, 130, N_JOINTS, dtype=torch.float64)
    keypoints.pixels[..., 1] = 50
    keypoints.confidence[:] = 1
    return keypoints, metres


def test_the_body():
    depths = joint_depths(*scene())
    assert depths.shape == (F, N_JOINTS)
    assert (depths == 2.0).all()


def test_at_its_outline_and_beside_it():
    keypoints, metres = scene()
    keypoints.pixels[:, Joint.LEFT_EAR, 0] = 61.0  # most of the patch is body
    keypoints.pixels[:, Joint.RIGHT_EAR, 0] = 141.0  # most of the patch is wall, some is body
    keypoints.pixels[:, Joint.NOSE, 0] = 160.0  # nothing but wall
    depths = joint_depths(keypoints, metres)
    assert (depths[:, [Joint.LEFT_EAR, Joint.RIGHT_EAR]] == 2.0).all()
    assert depths[:, Joint.NOSE].isnan().all()


def test_somebody_walks_through():
    keypoints, metres = scene()
    metres[4] = 1.0
    depths = joint_depths(keypoints, metres)
    assert depths[4].isnan().all()
    assert (depths[[3, 5]] == 2.0).all()


def test_holes_single_pixels_and_joints_that_are_not_there():
    keypoints, metres = scene()
    metres[:, 49:52, 70] = 0  # a hole, and a speck of nearer pixels, where the nose is
    metres[:, 50, 71] = 1.9
    keypoints.confidence[:, Joint.NECK] = 0
    keypoints.pixels[:, Joint.LEFT_HIP] = torch.tensor([-40.0, 50.0], dtype=torch.float64)
    depths = joint_depths(keypoints, metres)
    assert (depths[:, Joint.NOSE] == 2.0).all()
    assert depths[:, [Joint.NECK, Joint.LEFT_HIP]].isnan().all()
    assert joint_depths(keypoints, torch.zeros_like(metres)).isnan().all()
