"""PSNR and SSIM of images, whole or within a mask, in double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Wang et al. 2004: an 11 x 11 Gaussian window, moments without Bessel's correction, and only windows that lie in the
# image whole. scikit-image's `gaussian_weights=True, sigma=1.5, use_sample_covariance=False` and Exo2Ego-V's valid
# padding are both this.
SSIM_RADIUS, _SSIM_SIGMA = 5, 1.5
_C1, _C2 = 0.01**2, 0.03**2  # of a range of 1

# The mean squared error, of a range of 1, below which images count as equal: 120 dB in place of infinity, which no
# mean survives.
_EQUAL = 1e-12
BEST_PSNR = -10 * math.log10(_EQUAL)


def psnr(first: Tensor, second: Tensor, where: Tensor | None = None) -> float | None:
    """Return the peak signal-to-noise ratio in dB of values in [0, 1]; at most `BEST_PSNR`.

    Args:
        first: images of any shape.
        second: of the same shape.
        where: the pixels that count, of the first dimensions' shape; all where it is not given.

    Returns:
        `None` where no pixel counts.
    """
    if where is not None:
        if not where.any():
            return None
        first, second = first[where], second[where]
    return psnr_of_error(float((first - second).square().mean()))


def psnr_of_error(error: float) -> float:
    """Return the peak signal-to-noise ratio in dB of a mean squared error of values in [0, 1]."""
    return -10 * math.log10(max(error, _EQUAL))


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Return the structural similarity of every window that lies in the image whole.

    Args:
        first: [C, H, W] float64 in [0, 1].
        second: of the same shape.

    Returns:
        [C, H - 10, W - 10]; the window of entry (0, 0) has its center at pixel (5, 5).

    Raises:
        ValueError: if the images are smaller than a window.
    """
    side = 2 * SSIM_RADIUS + 1
    if min(first.shape[1:]) < side:
        raise ValueError(
            f"SSIM takes images of at least {side} x {side} pixels, got {first.shape[2]} x {first.shape[1]}."
        )
    products = (first, second, first * first, second * second, first * second)
    mean_1, mean_2, square_1, square_2, cross = _blurred(torch.stack(products))  # each [C, H - 10, W - 10]
    both = mean_1 * mean_2
    squares = mean_1.square() + mean_2.square()
    covariance, variances = cross - both, square_1 + square_2 - squares
    return (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))


def window_centers(mask: Tensor) -> Tensor:
    """Return of a mask [H, W] what belongs to the windows of `ssim_map`, [H - 10, W - 10]."""
    return mask[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]


def _blurred(images: Tensor) -> Tensor:
    """Weigh windows of [..., H, W] by the Gaussian, [..., H - 10, W - 10]."""
    away = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=images.dtype)
    weights = torch.exp(-0.5 * (away / _SSIM_SIGMA).square())
    weights = weights / weights.sum()
    for axis in (-1, -2):
        length = images.shape[axis] - 2 * SSIM_RADIUS
        blurred = weights[0] * images.narrow(axis, 0, length)
        for place, weight in enumerate(weights[1:].tolist(), 1):
            blurred.add_(images.narrow(axis, place, length), alpha=weight)
        images = blurred
    return images
