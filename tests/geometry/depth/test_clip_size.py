from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.cameras.aspect import in_shape_of, same_aspect
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.clip_size import at_image_size
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.lenses.pinhole import Pinhole


def depth_of(width: int, height: int) -> Depth:
    return Depth(1 + torch.rand(2, height, width), DepthMeaning.METRIC)


def camera_of(width: int, height: int) -> Camera:
    return Camera(Pinhole(width, width, width / 2, height / 2), width, height, torch.eye(4))


def test_depth_and_camera_take_the_size_of_the_images():
    depth, camera = at_image_size(torch.zeros(2, 90, 160, 3), depth_of(320, 180), camera_of(1920, 1080))
    assert depth.values.shape == (2, 90, 160)
    assert (camera.width, camera.height) == (160, 90)
    assert camera.lens == Pinhole(160.0, 160.0, 80.0, 45.0)


def test_other_shapes_are_refused_with_the_size_to_bring_the_video_to():
    images = torch.zeros(2, 448, 784, 3)
    with pytest.raises(ValueError, match=r"784 x 448.*depth 640 x 480.*Bring the video to 640 x 480"):
        at_image_size(images, depth_of(640, 480), camera_of(784, 448))
    with pytest.raises(ValueError, match=r"640 x 480.*784 x 448.*640 x 366"):
        at_image_size(images, depth_of(784, 448), camera_of(640, 480))
    with pytest.raises(ValueError, match="Expected images"):
        at_image_size(images[0], depth_of(784, 448), camera_of(784, 448))


@pytest.mark.parametrize(
    ("size", "other", "same"),
    [
        ((1920, 1080), (784, 441), True),
        ((854, 480), (1280, 720), True),
        ((1920, 1080), (1920, 1088), False),
        ((1000, 1000), (1005, 1000), True),
        ((1000, 1000), (1006, 1000), False),
        ((1000, 1000), (1000, 1006), False),
    ],
)
def test_half_a_percent_is_rounding(size, other, same):
    assert same_aspect(size, other) is same
    assert same_aspect(other, size) is same


def test_the_part_that_has_a_shape():
    assert in_shape_of((640, 480), (784, 448)) == (640, 366)
    assert in_shape_of((784, 448), (640, 480)) == (597, 448)
