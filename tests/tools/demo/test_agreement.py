from __future__ import annotations

import math

import pytest
import torch

from support.agreement import covered_pixels, prior_agreement, psnr


def clip(*rows: list[float]) -> torch.Tensor:
    """One-row grey frames [F, 1, W, 3]."""
    return torch.tensor(rows)[:, None, :, None].expand(-1, -1, -1, 3)


def test_iou_counts_what_both_cover():
    found = prior_agreement(clip([0.5, 0.5, 0.0, 0.0], [0.0] * 4), clip([0.0, 0.5, 0.5, 0.0], [0.0] * 4))
    assert found.iou.tolist() == pytest.approx([1 / 3, 1.0])
    assert found.mean_iou == pytest.approx(2 / 3)


def test_psnr_counts_the_intersection_only():
    found = prior_agreement(clip([0.5, 0.5, 0.0], [0.5, 0.0, 0.0]), clip([0.4, 0.0, 0.9], [0.0, 0.0, 0.5]))
    assert found.psnr[0] == pytest.approx(20.0, abs=1e-4)  # an error of 0.1
    assert math.isnan(found.psnr[1])
    assert found.mean_psnr == pytest.approx(20.0, abs=1e-4)


def test_equal_clips_agree_without_limit():
    images = torch.rand(2, 4, 5, 3)
    assert prior_agreement(images, images).mean_psnr == math.inf


def test_compressed_black_is_not_covered():
    images = torch.zeros(1, 1, 3, 3)
    images[0, 0, 1, 2] = 16 / 255
    images[0, 0, 2, 0] = 17 / 255
    assert covered_pixels(images).tolist() == [[[False, False, True]]]


def test_mask_chooses_pixels():
    images, reference = clip([1.0, 0.0]), clip([0.0, 0.0])
    mask = torch.tensor([[[False, True]]])
    assert psnr(images, reference, mask)[0] == math.inf
    assert psnr(images, reference, ~mask)[0] == pytest.approx(0.0)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        prior_agreement(torch.zeros(1, 2, 2, 3), torch.zeros(2, 2, 2, 3))
