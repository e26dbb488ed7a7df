"""The baselines that invent nothing."""

from __future__ import annotations

import pytest
import torch

from exo2ego.evaluation.fills import mean_color_fill, telea_fill


def test_holes_get_the_mean_color_of_their_own_frame():
    prior = torch.zeros(3, 4, 4, 3)
    prior[0, :2] = torch.tensor([0.2, 0.4, 0.6])
    prior[1, 0] = 1.0
    prior[1, 1] = 0.5
    unseen = prior.amax(dim=-1) == 0
    filled = mean_color_fill(prior, unseen)
    assert torch.equal(filled[~unseen], prior[~unseen])
    assert torch.allclose(filled[0, 3, 3], torch.tensor([0.2, 0.4, 0.6]))
    assert torch.allclose(filled[1, 3, 3], torch.full((3,), 0.75))
    assert (filled[2] == 0.5).all(), "a frame that shows nothing is gray"
    assert (prior[2] == 0).all(), "the prior itself is left alone"


def test_telea_paints_from_the_edges():
    pytest.importorskip("cv2", reason="OpenCV is of the extra `evaluate` alone")
    prior = torch.zeros(2, 24, 24, 3)
    prior[0, :, :12] = torch.tensor([1.0, 0.0, 0.0])
    prior[0, :, 16:] = torch.tensor([0.0, 0.0, 1.0])
    unseen = prior.amax(dim=-1) == 0
    filled = telea_fill(prior, unseen)
    assert torch.equal(filled[0][~unseen[0]], prior[0][~unseen[0]])
    red, blue = filled[0, 12, 12], filled[0, 12, 15]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert (filled[1] == 0.5).all()
