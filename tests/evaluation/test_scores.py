"""PSNR and SSIM against scikit-image, the protocols' sizes and pixels, and regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from exo2ego.evaluation import covered, score_clips
from exo2ego.evaluation.images import BEST_PSNR, psnr
from exo2ego.evaluation.regions import iou

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def clips(frames: int = 2, height: int = 40, width: int = 36, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A clip and its truth, alike but for noise, with shapes that SSIM can see."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(frames, height // 4, width // 4, 3, generator=generator)
    truth = truth.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    pred = (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    return pred.mul(255).round() / 255, truth.mul(255).round() / 255  # as of a video


def luma(frame: torch.Tensor) -> np.ndarray:
    eight_bit = (frame.numpy().astype(np.float64) * 255).round()
    return eight_bit @ np.array([0.299, 0.587, 0.114])


def test_egox_is_luma_of_eight_bits_as_scikit_image_scores_it():
    pred, truth = clips()
    frames = score_clips(pred, truth, protocol="EgoX").frames
    for frame in range(2):
        one, true = luma(pred[frame]), luma(truth[frame])
        expected = peak_signal_noise_ratio(true, one, data_range=255)
        assert float(frames["psnr"][0][frame]) == pytest.approx(expected, abs=1e-6)
        expected = structural_similarity(true, one, data_range=255, **GAUSSIAN)
        assert float(frames["ssim"][0][frame]) == pytest.approx(expected, abs=1e-6)


def test_exo2egosyn_is_rgb_in_256_as_scikit_image_scores_it():
    pred, truth = clips(frames=1, height=256, width=256)
    frames = score_clips(pred, truth, protocol="Exo2EgoSyn").frames
    one, true = pred[0].double().numpy(), truth[0].double().numpy()
    expected = peak_signal_noise_ratio(true, one, data_range=1)
    assert float(frames["psnr"][0]) == pytest.approx(expected, abs=1e-6)
    expected = structural_similarity(true, one, data_range=1, channel_axis=-1, **GAUSSIAN)
    assert float(frames["ssim"][0]) == pytest.approx(expected, abs=1e-6)


def test_exo2egosyn_resizes_without_cropping():
    plain = torch.zeros(1, 64, 128, 3)
    plain[:, :, 64:] = 1.0
    ready = torch.zeros(1, 256, 256, 3)
    ready[:, :, 128:] = 1.0
    assert score_clips(plain, ready, protocol="Exo2EgoSyn").means["psnr"] > 25  # but for the edge


def test_egox_takes_the_right_end_of_a_canvas_and_resizes_nothing():
    pred, truth = clips()
    canvas = torch.cat([torch.rand(2, 40, 60, 3), pred], dim=2)
    alone = score_clips(pred, truth, protocol="EgoX").means
    assert score_clips(canvas, truth, protocol="EgoX").means == alone
    with pytest.raises(ValueError, match=r"36 x 20, and the ego truth 36 x 40.*does not resize"):
        score_clips(pred[:, :20], truth, protocol="EgoX")
    with pytest.raises(ValueError, match="2 frames, and the true ego view 1"):
        score_clips(pred, truth[:1], protocol="EgoX")
    with pytest.raises(ValueError, match="no protocol 'egox'"):
        score_clips(pred, truth, protocol="egox")
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 8 x 8"):
        score_clips(pred[:, :8, :8], truth[:, :8, :8], protocol="EgoX")


def test_frames_are_averaged_before_clips():
    """A long clip counts as much as a short one."""
    truth = [torch.zeros(3, 12, 12, 3), torch.zeros(1, 12, 12, 3)]
    pred = [torch.full((3, 12, 12, 3), 0.1), torch.ones(1, 12, 12, 3)]
    scores = score_clips(pred, truth, protocol="Exo2EgoSyn")
    assert scores.clips["psnr"].tolist() == pytest.approx([20, 0], abs=1e-5)
    assert scores.means["psnr"] == pytest.approx(10, abs=1e-5)


def test_seen_and_unseen_are_told_apart():
    truth = torch.full((2, 40, 40, 3), 0.5)
    unseen = torch.zeros(2, 40, 40, dtype=torch.bool)
    unseen[0, :, 10:] = True
    pred = truth.clone()
    pred[unseen] += 0.1
    scores = score_clips(pred, truth, protocol="Exo2EgoSyn", unseen=unseen)
    assert scores.frames["psnr_seen"][0][1] == BEST_PSNR
    assert math.isnan(scores.frames["psnr_unseen"][0][1]), "a frame without holes has no score of them"
    egox = score_clips(pred, truth, protocol="EgoX", unseen=unseen)
    error = round(0.6 * 255) - round(0.5 * 255)
    expected = 10 * math.log10(255**2 / error**2)
    assert egox.clips["psnr_unseen"].tolist() == pytest.approx([expected], abs=1e-6)
    assert egox.clips["unseen_percent"].tolist() == [37.5]
    assert egox.frames["ssim_seen"][0][1] == pytest.approx(1)
    assert egox.frames["ssim_unseen"][0][0] < 0.99
    whole = score_clips(pred, truth, protocol="EgoX")
    assert {"psnr", "ssim"} == set(whole.frames)
    assert whole.clips["psnr"] == egox.clips["psnr"]


def test_windows_belong_to_the_region_of_their_centers():
    pred, truth = clips(frames=1)
    unseen = torch.zeros(1, 40, 36, dtype=torch.bool)
    unseen[:, 8:23, 4:19] = True
    scores = score_clips(pred, truth, protocol="EgoX", unseen=unseen).means
    _, similar = structural_similarity(luma(truth[0]), luma(pred[0]), data_range=255, full=True, **GAUSSIAN)
    whole = np.zeros((40, 36), dtype=bool)
    whole[5:-5, 5:-5] = True  # windows that lie in the image
    hole = unseen[0].numpy()
    assert scores["ssim_unseen"] == pytest.approx(similar[whole & hole].mean(), abs=1e-6)
    assert scores["ssim_seen"] == pytest.approx(similar[whole & ~hole].mean(), abs=1e-6)


def test_masks_that_do_not_fit_are_told():
    pred, truth = clips()
    with pytest.raises(ValueError, match="mask of what is unseen 1"):
        score_clips(pred, truth, protocol="EgoX", unseen=torch.zeros(1, 40, 36, dtype=torch.bool))
    with pytest.raises(ValueError, match="Give the prior of the same camera"):
        score_clips(pred, truth, protocol="EgoX", unseen=torch.zeros(2, 20, 36, dtype=torch.bool))
    with pytest.raises(ValueError, match="as many scored clips as true ones and masks, got 1, 2 and 1"):
        score_clips([pred], [truth, truth], protocol="EgoX")


def test_what_a_prior_covers():
    prior = torch.zeros(2, 4, 4, 3)
    prior[:, :2] = 0.5
    prior[:, 3] = 10 / 255  # what compression leaves of black
    shared = torch.zeros(2, 4, 4, dtype=torch.bool)
    shared[:, 1:3] = True
    assert covered(prior).float().mean() == 0.5
    assert iou(covered(prior), shared) == pytest.approx(1 / 3)
    assert iou(shared & False, shared & False) == 1
    truth = torch.full_like(prior, 0.6)
    assert psnr(prior, truth, covered(prior) & shared) == pytest.approx(20, abs=1e-3)
    assert psnr(prior, truth, shared & False) is None
    assert psnr(prior, prior) == BEST_PSNR
