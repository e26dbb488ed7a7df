"""Give a temporally steady but unscaled depth the metres of a per-frame metric depth (EgoX, Eq. 1; after ViPE).

Per frame, a scale `a` and an offset `b` make `a * inverse_temporal + b` fit `1 / metric` on static pixels; momentum
smooths both over time; the result is `1 / max(a * inverse_temporal + b, 1e-3)`. The paper's Eq. 1 divides by its
alpha inside, which is the same affine map of inverse depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ...common.cancel import bounded_slices
from .affine_fit import Fit, fit_least_squares, fit_robust, quantile_band, trial_draws
from .depth import Depth, DepthMeaning

# ViPE: momentum of scale and offset, quantiles that bound the fitted pixels, smallest inverse depth (1 km).
MOMENTUM = 0.99
BAND = (0.1, 0.9)
MIN_INVERSE_DEPTH = 1e-3

# Fits and jitter see at most this many pixels of a frame, drawn once for the clip. Two unknowns need no more (their
# standard error is 1/256 of the pixels' scatter), and every step then handles all frames at once in little memory.
_SAMPLED_PIXELS = 65_536
# A frame with fewer usable pixels, as a share of its own, is not fitted.
_MIN_USED = 1e-3
# A fit sorts and sums many times over: its pixels count so often between two cancel points.
_WORK_PER_PIXEL = 8
# Depth models round sizes to multiples of 14 or 16 pixels: 518 x 294 for a 16:9 picture.
_ASPECT_TOLERANCE = 0.03


class AlignmentMethod(str, Enum):
    """How a frame's scale and offset are fitted."""

    VIPE = "vipe"
    """Least squares over the pixels inside the 0.1-0.9 quantiles of both inverse depths."""
    ROBUST = "robust"
    """Least median of squares, then Tukey's biweight: nearly half the pixels may be wrong or moving, unmasked."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Aligned depth and how well it fits.

    Attributes:
        depth: metric depth [F, H, W].
        scale, offset: [F] float64, as used (after momentum), for inverse depth; offset in 1/metres.
        fitted_scale, fitted_offset: [F] float64, each frame's own fit (before momentum); NaN where it failed.
        residual: [F] float64, root mean square error of the frame's own fit over its fitted pixels, relative to
            their mean inverse metric depth (0.05 = 5 %); NaN where it failed.
        used: [F] float64, share of the frame's pixels that the fit used.
        failed_frames: frames without a fit of their own; they took over their neighbour's scale and offset.
        jitter_before, jitter_after: `static_jitter` of the metric input and of the aligned depth.
        method, momentum: as given.
    """

    depth: Depth
    scale: Tensor
    offset: Tensor
    fitted_scale: Tensor
    fitted_offset: Tensor
    residual: Tensor
    used: Tensor
    failed_frames: tuple[int, ...]
    jitter_before: float
    jitter_after: float
    method: AlignmentMethod
    momentum: float

    def summary(self) -> str:
        """Return the report as a few lines of text."""
        lines = [
            f"method {self.method.value}, momentum {self.momentum:g}, {len(self.scale)} frames",
            f"scale {_span(self.scale)}, offset {_span(self.offset)} 1/m",
            f"fit error (rms) {100 * float(self.residual.nanmedian()):.2f} % in the median frame, "
            f"{100 * float(self.residual.nan_to_num(0).max()):.2f} % in the worst",
            f"pixels used {100 * float(self.used.min()):.0f} to {100 * float(self.used.max()):.0f} %",
            f"jitter of static pixels {100 * self.jitter_before:.3f} % before, {100 * self.jitter_after:.3f} % after",
        ]
        if self.failed_frames:
            lines.append(f"frames without a fit of their own: {', '.join(map(str, self.failed_frames))}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


def align_depth(
    temporal: Depth | None,
    metric: Depth,
    dynamic: Tensor | None = None,
    method: AlignmentMethod | str = AlignmentMethod.VIPE,
    momentum: float = MOMENTUM,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Alignment:
    """Align a temporal depth to a metric one, frame by frame with momentum (EgoX, Section 3.1; ViPE).

    Unlike ViPE's code, whose masks choose only the quantiles of the metric depth and are then dropped, masked pixels
    take no part in the fit, as the paper says.

    Args:
        temporal: F maps, steady over time; inverse depth, or metric depth of a wrong scale. Another size of the same
            picture is resized to that of `metric`. None: the metric depth comes back as it is, with a report of its
            jitter.
        metric: [F, H, W] in metres, possibly flickering.
        dynamic: [F, H, W] bool, True where something moves: left out of the fit. None: nothing moves.
        method: `AlignmentMethod`.
        momentum: in `a[f] = momentum * a[f-1] + (1 - momentum) * fitted_a[f]`, the same for the offset. The first
            fitted frame counts as is: at 0.99 it still weighs 0.617 in frame 48. 0 switches smoothing off.
        progress: called with (frames done, all frames).

    Returns:
        The aligned depth with its report. A frame that cannot be fitted (too few pixels, no contrast, or a negative
        scale) takes the values of the frame before it, or of the first fitted frame if none was before.

    Raises:
        ValueError: if lengths or aspect ratios differ, `metric` is not metric, `momentum` is outside [0, 1), or no
            frame can be fitted.
    """
    method = AlignmentMethod(method)
    if not 0 <= momentum < 1:
        raise ValueError(f"Momentum lies in [0, 1), got {momentum}.")
    _check_mask(dynamic, metric)
    if temporal is None:
        return _unchanged(metric, dynamic, method, momentum)
    temporal = _of_one_size(temporal, metric)
    pixels = _sample(temporal.height * temporal.width)  # [S]
    x = _pick(temporal.values, pixels, temporal.meaning)  # [F, S] inverse depth, float64
    y = _pick(metric.metric(), pixels, metric.meaning)  # [F, S] 1/metres, float64
    usable = torch.isfinite(x) & torch.isfinite(y)  # [F, S]
    if dynamic is not None:
        usable &= ~_at(dynamic, pixels).to(usable.device)

    fit = _fitted(x, y, usable, method)
    failed = (fit.used.double().mean(dim=1) < _MIN_USED) | ~(fit.scale > 0)  # [F]; a NaN scale fails too
    if failed.all():
        raise ValueError(_why_nothing_fits(fit, usable))
    scale, offset = (_smoothed(values, failed, momentum) for values in (fit.scale, fit.offset))  # [F]

    aligned = torch.zeros_like(temporal.values)
    for frame in range(temporal.n_frames):
        aligned[frame] = _apply(temporal, frame, float(scale[frame]), float(offset[frame]))
        if progress is not None:
            progress(frame + 1, temporal.n_frames)

    return Alignment(
        depth=Depth(aligned, DepthMeaning.METRIC),
        scale=scale,
        offset=offset,
        fitted_scale=fit.scale.masked_fill(failed, torch.nan),
        fitted_offset=fit.offset.masked_fill(failed, torch.nan),
        residual=fit.residual.masked_fill(failed, torch.nan),
        used=fit.used.double().mean(dim=1),
        failed_frames=tuple(failed.nonzero().flatten().tolist()),
        jitter_before=static_jitter(_at(metric.values, pixels), usable),
        jitter_after=static_jitter(_at(aligned, pixels), usable),
        method=method,
        momentum=momentum,
    )


def _fitted(x: Tensor, y: Tensor, usable: Tensor, method: AlignmentMethod) -> Fit:
    """Fit every frame by itself, some at a time."""
    draws = trial_draws(len(x))
    fits = []
    for frames in bounded_slices(len(x), _WORK_PER_PIXEL * x.shape[1]):
        part = x[frames], y[frames], usable[frames]
        if method is AlignmentMethod.VIPE:
            fits.append(fit_least_squares(*part[:2], quantile_band(*part, *BAND)))
        else:
            fits.append(fit_robust(*part, draws[frames]))
    names = ("scale", "offset", "residual", "used")
    return Fit(*(torch.cat([getattr(fit, name) for fit in fits]) for name in names))


def static_jitter(depth: Tensor, static: Tensor) -> float:
    """Return how much the depth of static pixels changes from one frame to the next.

    For each pixel, the root mean square over time of `(d[f+1] - d[f]) / mean(d[f], d[f+1])`, over the pairs of
    frames in which it is static; then the median over the pixels. It means jitter where the camera stands still.

    Args:
        depth: metres [F, S].
        static: [F, S] bool, pixels that hold a depth and do not move.

    Returns:
        A ratio (0.01 = 1 % from frame to frame); NaN if no pixel is static in two frames that follow each other.
    """
    parts = []
    for pixels in bounded_slices(depth.shape[1], len(depth)):
        values, still = depth[:, pixels], static[:, pixels]
        both = still[1:] & still[:-1]  # [F - 1, S]
        change = (values[1:] - values[:-1]) / (0.5 * (values[1:] + values[:-1]))
        pairs = both.sum(dim=0)  # [S]
        mean_square = change.double().square().masked_fill(~both, 0).sum(dim=0) / pairs
        parts.append(mean_square[pairs > 0].sqrt())
    seen = torch.cat(parts)
    return float(seen.median()) if len(seen) else torch.nan


def _of_one_size(temporal: Depth, metric: Depth) -> Depth:
    """Return the temporal depth at the size of the metric one, if both can show the same clip."""
    if temporal.n_frames != metric.n_frames:
        raise ValueError(
            f"The temporal depth has {temporal.n_frames} frames and the metric depth {metric.n_frames}. "
            "Run both models on the same frames, or cut the longer one."
        )
    aspects = temporal.width / temporal.height, metric.width / metric.height
    if abs(aspects[0] / aspects[1] - 1) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"The temporal depth is {temporal.width} x {temporal.height} and the metric depth {metric.width} x "
            f"{metric.height} pixels: they show different parts of the image. Run both models on the same frames."
        )
    return temporal.resized(metric.width, metric.height)


def _unchanged(metric: Depth, dynamic: Tensor | None, method: AlignmentMethod, momentum: float) -> Alignment:
    """Return the metric depth itself, as scale 1 and offset 0, with its jitter."""
    pixels = _sample(metric.height * metric.width)
    metres = _at(metric.metric(), pixels)
    usable = metres > 0
    if dynamic is not None:
        usable &= ~_at(dynamic, pixels).to(usable.device)
    ones = torch.ones(metric.n_frames, dtype=torch.float64)
    zeros = torch.zeros_like(ones)
    jitter = static_jitter(metres, usable)
    return Alignment(
        depth=metric,
        scale=ones,
        offset=zeros,
        fitted_scale=ones,
        fitted_offset=zeros,
        residual=zeros,
        used=usable.double().mean(dim=1),
        failed_frames=(),
        jitter_before=jitter,
        jitter_after=jitter,
        method=method,
        momentum=momentum,
    )


def _check_mask(dynamic: Tensor | None, metric: Depth) -> None:
    if dynamic is not None and (dynamic.dtype is not torch.bool or dynamic.shape != metric.values.shape):
        raise ValueError(
            f"Expected the dynamic mask as bool {list(metric.values.shape)}, got {dynamic.dtype} {list(dynamic.shape)}."
        )


def _sample(n_pixels: int) -> Tensor:
    """Return the flat indices [S] of the pixels that fits and jitter look at; the same on every run.

    One is drawn from each of S stretches of a frame: shuffling all pixels takes seconds where there are 64 million.
    """
    if n_pixels <= _SAMPLED_PIXELS:
        return torch.arange(n_pixels)
    ends = torch.arange(_SAMPLED_PIXELS + 1) * n_pixels // _SAMPLED_PIXELS
    drawn = torch.rand(_SAMPLED_PIXELS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return ends[:-1] + (drawn * ends.diff()).long()


def _pick(values: Tensor, pixels: Tensor, meaning: DepthMeaning) -> Tensor:
    """Return the inverse depth of the sampled pixels [F, S] float64, NaN where invalid."""
    picked = _at(values, pixels)
    inverse = torch.empty(picked.shape, dtype=torch.float64)
    for frames in bounded_slices(len(picked), len(pixels)):
        some = picked[frames].double()
        inverse[frames] = some if meaning is DepthMeaning.INVERSE else some.reciprocal().where(some > 0, torch.nan)
    return inverse


def _at(maps: Tensor, pixels: Tensor) -> Tensor:
    """Return the values of maps [F, H, W] at flat pixels [S], as [F, S]."""
    rows, columns = pixels // maps.shape[2], pixels % maps.shape[2]
    parts = [maps[frames, rows, columns] for frames in bounded_slices(len(maps), len(pixels))]
    return torch.cat(parts)


def _smoothed(values: Tensor, failed: Tensor, momentum: float) -> Tensor:
    """Smooth [F] over time; a failed frame repeats the one before it, leading ones the first good one."""
    smoothed = torch.empty_like(values)
    last = values[~failed][0]
    first = True
    for frame in range(len(values)):
        if not failed[frame]:
            last = values[frame] if first else momentum * last + (1 - momentum) * values[frame]
            first = False
        smoothed[frame] = last
    return smoothed


def _apply(temporal: Depth, frame: int, scale: float, offset: float) -> Tensor:
    """Return the aligned metres of one frame [H, W]; invalid pixels stay invalid (0 by way of infinity, or NaN)."""
    values = temporal.values[frame]
    inverse = values.reciprocal() if temporal.meaning is DepthMeaning.METRIC else values
    return (scale * inverse + offset).clamp_min(MIN_INVERSE_DEPTH).reciprocal()


def _why_nothing_fits(fit: Fit, usable: Tensor) -> str:
    share = float(usable.double().mean())
    if share < _MIN_USED:
        return (
            f"No frame has enough pixels to align: {100 * share:.2g} % are valid in both depths and not masked. "
            "Check the depths, and that the mask is not inverted."
        )
    if (fit.scale <= 0).any():
        return (
            "The temporal depth runs against the metric depth in every frame (the fitted scale is negative). "
            "Its meaning is probably wrong: check whether near is bright, or invert the image."
        )
    return "No frame can be aligned: the temporal depth has no contrast where both depths are valid."


def _span(values: Tensor) -> str:
    low, high = (f"{round(float(edge), 6):.4g}" for edge in values.aminmax())
    return low if low == high else f"{low} to {high}"
