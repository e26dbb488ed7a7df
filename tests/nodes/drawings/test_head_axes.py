"""Axes and joints land on the pixels they belong to, and the chart shows what is what."""

from __future__ import annotations

import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.head.keypoints import Joint, Keypoints
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.nodes.drawings.head_axes import draw_heads
from exo2ego.nodes.drawings.plots import confidence_chart

SIZE = (160, 90)
EXO = Camera(Pinhole(100.0, 100.0, 80.0, 45.0), *SIZE, torch.eye(4))


def head() -> Camera:
    """Two frames of an upright camera 2 m before the exo camera that looks to its right."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    pose[:3, 3] = -pose[:3, :3] @ torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    return Camera(Pinhole.from_fov(90, 8, 8), 8, 8, pose.repeat(2, 1, 1))


def keypoints() -> Keypoints:
    found = Keypoints.none(2)
    found.pixels[0, Joint.NECK], found.confidence[0, Joint.NECK] = torch.tensor([30.0, 70.0]).double(), 1.0
    return found


def is_color(pixel: torch.Tensor, channel: int) -> bool:
    return int(pixel.argmax()) == channel and float(pixel.max()) > 0.7


def test_axes_and_joints():
    frames = torch.zeros(2, SIZE[1], SIZE[0], 3)
    drawn = draw_heads(frames, EXO, head(), keypoints(), filled_frames=[1])
    assert drawn.shape == frames.shape
    assert is_color(drawn[0, 45, 88], 2)  # ahead: blue, to the right, 12.5 pixels for 25 cm at 2 m
    assert is_color(drawn[0, 48, 80], 1)  # down: green
    assert (drawn[0, 45, 96:] == 0).all()
    assert drawn[0, 66:75, 26:35].max() > 0.7  # the neck's ring
    assert drawn[1, 66:75, 26:35].max() == 0
    assert drawn[1, :20, :100].max() > 0.7  # the mark of a filled frame
    assert drawn[0, :20, :100].max() == 0
    assert (frames == 0).all()


def test_large_pictures_become_smaller_and_stay_in_place():
    frames = torch.zeros(2, 900, 1600, 3)
    drawn = draw_heads(frames, EXO, head(), keypoints(), ())
    assert drawn.shape == (2, 441, 784, 3)
    scale = 784 / 160
    assert is_color(drawn[0, round(45 * scale), round(88 * scale)], 2)


def test_a_head_behind_the_camera_is_not_drawn():
    behind = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    behind[:, 2, 3] = 2.0
    camera = Camera(Pinhole.from_fov(90, 8, 8), 8, 8, behind)
    assert draw_heads(torch.zeros(2, SIZE[1], SIZE[0], 3), EXO, camera, Keypoints.none(2), ()).max() == 0


def test_the_chart_differs_by_what_it_shows():
    values = torch.full((9,), 0.5)
    plain = confidence_chart(values, (), ())
    assert plain.shape == (1, 320, 960, 3)
    for filled, torso in (((3,), ()), ((), (3,))):
        assert (confidence_chart(values, filled, torso) - plain).abs().max() > 0.1
