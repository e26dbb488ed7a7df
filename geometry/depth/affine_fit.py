"""Fit `y = scale * x + offset` to many pixels, for all frames at once.

Tensors are [F, S]: S sampled pixels of each of F frames. Pixels that do not count may hold anything, NaN included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Least median of squares: lines through random pairs of pixels, judged on some other pixels. With 40 % outliers
# a pair is clean with probability 0.36, so that 100 pairs miss with probability 1e-19.
_TRIAL_LINES = 100
_JUDGES = 1024
# Tukey's biweight: rejection at 4.685 standard deviations is 95 % efficient on Gaussian noise.
_TUKEY = 4.685
_SIGMA_PER_MAD = 1.4826
_TUKEY_ROUNDS = 10
# Contrast of x below this share of its mean is rounding noise of float32 maps.
_MIN_CONTRAST = 1e-5


@dataclass(frozen=True, eq=False)
class Fit:
    """Scale and offset of each frame.

    Attributes:
        scale, offset: [F], NaN where x has no contrast or no pixel counts.
        residual: [F], root mean square error over the used pixels, relative to their mean absolute y.
        used: [F, S] bool, the pixels that decided the fit.
    """

    scale: Tensor
    offset: Tensor
    residual: Tensor
    used: Tensor


def quantile_band(x: Tensor, y: Tensor, usable: Tensor, low: float, high: float) -> Tensor:
    """Return the usable pixels [F, S] whose x and y both lie between their frame's quantiles `low` and `high`.

    The quantiles are those of the usable pixels only. A frame without any gets none.
    """
    inside = usable
    for values in (x, y):
        # One sort serves both quantiles; torch.quantile would sort too, and refuses more than 16 million elements.
        ranked = values.masked_fill(~usable, torch.inf).sort(dim=1).values
        last = usable.sum(dim=1, keepdim=True) - 1  # [F, 1] rank of the largest usable value
        edges = [_at_rank(ranked, quantile * last.clamp_min(0)) for quantile in (low, high)]
        inside = inside & (values >= edges[0]) & (values <= edges[1])
    return inside


def fit_least_squares(x: Tensor, y: Tensor, used: Tensor) -> Fit:
    """Fit by least squares over the pixels `used` [F, S] bool."""
    scale, offset = _weighted_line(x, y, used.to(x.dtype))
    return Fit(scale, offset, _relative_error(x, y, used, scale, offset), used)


def fit_robust(x: Tensor, y: Tensor, usable: Tensor, draws: Tensor | None = None) -> Fit:
    """Fit in the face of outliers: least median of squares, then Tukey's biweight.

    The start tolerates any outliers short of half the pixels; the rounds after it average over all inliers.

    Args:
        x: [F, S].
        y: [F, S].
        usable: [F, S] bool, the pixels to choose from.
        draws: rows of `trial_draws` that belong to these frames, where they are some of a clip's.
    """
    scale, offset = _least_median_line(x, y, usable, trial_draws(len(x)) if draws is None else draws)
    floor = 1e-7 * _masked_mean(y.abs(), usable)  # [F]: noise-free data has no spread to measure
    weights = torch.zeros_like(x)
    for _ in range(_TUKEY_ROUNDS):
        error = (scale[:, None] * x + offset[:, None] - y).abs()
        sigma = _SIGMA_PER_MAD * _masked_median(error, usable)
        ratio = error / (_TUKEY * torch.maximum(sigma, floor))[:, None]
        weights = (1 - ratio.square()).clamp_min(0).square().masked_fill(~usable | ratio.isnan(), 0)
        scale, offset = _weighted_line(x, y, weights)
    used = weights > 0
    return Fit(scale, offset, _relative_error(x, y, used, scale, offset), used)


def _weighted_line(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and offset [F] that minimise the weighted squared error; NaN without contrast in x."""
    counts = weights > 0
    x, y = x.masked_fill(~counts, 0), y.masked_fill(~counts, 0)
    total = weights.sum(dim=1, keepdim=True)  # [F, 1]
    x_mean = (weights * x).sum(dim=1, keepdim=True) / total
    y_mean = (weights * y).sum(dim=1, keepdim=True) / total
    # About the means: the normal equations of raw values would lose half the digits.
    centred = weights * (x - x_mean)
    variance = (centred * (x - x_mean)).sum(dim=1) / total[:, 0]
    covariance = (centred * (y - y_mean)).sum(dim=1) / total[:, 0]
    has_contrast = variance.sqrt() > _MIN_CONTRAST * x_mean[:, 0].abs()
    scale = torch.where(has_contrast, covariance / variance, torch.nan)
    return scale, y_mean[:, 0] - scale * x_mean[:, 0]


def _least_median_line(x: Tensor, y: Tensor, usable: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Return the line [F] through two pixels whose median absolute error is the least of all trial lines."""
    chosen = _chosen(usable, draws)
    x1, x2, x_judge = x.gather(1, chosen).split([_TRIAL_LINES, _TRIAL_LINES, _JUDGES], dim=1)
    y1, y2, y_judge = y.gather(1, chosen).split([_TRIAL_LINES, _TRIAL_LINES, _JUDGES], dim=1)
    scale = (y2 - y1) / (x2 - x1)  # [F, lines]
    offset = y1 - scale * x1
    error = (scale[..., None] * x_judge[:, None] + offset[..., None] - y_judge[:, None]).abs()  # [F, lines, judges]
    # A pair of equal x draws no line, and a frame without usable pixels has drawn others, which may hold NaN.
    median = error.median(dim=2).values.nan_to_num(nan=torch.inf)
    best = median.argmin(dim=1, keepdim=True)
    return scale.gather(1, best)[:, 0], offset.gather(1, best)[:, 0]


def trial_draws(n_frames: int) -> Tensor:
    """Return the random numbers in [0, 1) with which `fit_robust` draws pixels [F, D]; the same on every run."""
    return torch.rand(n_frames, 2 * _TRIAL_LINES + _JUDGES, generator=torch.Generator().manual_seed(0))


def _chosen(usable: Tensor, draws: Tensor) -> Tensor:
    """Return random positions [F, D] of usable pixels, with repetition; any position where none is usable."""
    usable_first = (~usable).to(torch.uint8).argsort(dim=1, stable=True)  # [F, S]
    ranks = (draws.to(usable.device) * usable.sum(dim=1, keepdim=True)).long()
    return usable_first.gather(1, ranks)


def _at_rank(ranked: Tensor, rank: Tensor) -> Tensor:
    """Return sorted [F, S] at the fractional rank [F, 1], linear between neighbours as torch.quantile has it."""
    below = rank.floor().long()
    low, high = ranked.gather(1, below), ranked.gather(1, rank.ceil().long())
    return torch.lerp(low, high, (rank - below).to(ranked.dtype))


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)


def _masked_median(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, torch.nan).nanmedian(dim=1).values


def _relative_error(x: Tensor, y: Tensor, used: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    error = scale[:, None] * x + offset[:, None] - y
    return _masked_mean(error.square(), used).sqrt() / _masked_mean(y.abs(), used)
