"""A take in another size: everything in it still fits together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.takes.example.room import example_take
from exo2ego.takes.library import TAKES
from exo2ego.takes.resize import resized_take, whole_tokens


@pytest.fixture(scope="module")
def take():
    return example_take(2, exo_width=448, exo_height=256, ego_size=256)


def test_the_same_take_rendered_smaller(take):
    smaller, rendered = resized_take(take, 128), example_take(2, exo_width=224, exo_height=128, ego_size=128)
    assert smaller.exo.shape == rendered.exo.shape == (2, 128, 224, 3)
    assert (smaller.exo - rendered.exo).abs().mean() < 0.02
    assert (smaller.ego_truth - rendered.ego_truth).abs().mean() < 0.02
    assert (smaller.depth.values - rendered.depth.values).abs().median() < 0.01
    for camera, wanted in ((smaller.exo_camera, rendered.exo_camera), (smaller.ego_camera, rendered.ego_camera)):
        point = torch.tensor([[0.1, -0.8, 0.9]], dtype=torch.float64)
        seen, expected = camera.project(point), wanted.project(point)
        assert all(torch.allclose(a.double(), b.double(), atol=1e-3) for a, b in zip(seen, expected))


def test_what_is_left_of_a_token_is_cut_off_on_both_sides(take):
    left = 9
    narrow = replace(
        take,
        exo=take.exo[:, :, left : 448 - 11],
        exo_camera=take.exo_camera.cropped(left, 0, 428, 256),
        depth=Depth(take.depth.values[:, :, left : 448 - 11], DepthMeaning.METRIC),
    )
    smaller = resized_take(narrow, 128)
    assert smaller.exo.shape[1:3] == (128, 208)  # of 214 columns
    pixel = smaller.exo_camera.project(torch.tensor([[0.1, -0.8, 0.9]], dtype=torch.float64))[0]
    before = take.exo_camera.project(torch.tensor([[0.1, -0.8, 0.9]], dtype=torch.float64))[0]
    assert torch.allclose(pixel, (before - torch.tensor([left + 6.0, 0.0])) / 2, atol=1e-2)


@pytest.mark.parametrize(("height", "words"), [(100, "multiple of 16 pixels, got 100"), (-16, "got -16")])
def test_other_heights_are_refused(take, height, words):
    with pytest.raises(ValueError, match=words):
        resized_take(take, height)


def test_a_clip_that_is_too_narrow(take):
    thin = replace(
        take,
        exo=take.exo[:, :, :20],
        exo_camera=take.exo_camera.cropped(0, 0, 20, 256),
        depth=take.depth.cropped(0, 0, 20, 256),
    )
    with pytest.raises(ValueError, match="narrower than 16 pixels"):
        resized_take(thin, 128)


def test_the_example_room_is_made_in_the_size_asked_for(tmp_path):
    take = TAKES.load(tmp_path, TAKES.built_in, max_frames=1, height=96)
    assert take.exo.shape[1:3] == (96, whole_tokens(784, 448, 96))
    assert take.ego_truth.shape[1:3] == (96, 96)
