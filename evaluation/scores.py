"""Scores of clips, frame by frame: the whole image, and what the exo camera saw and did not see of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.cancel import cancel_point
from .images import psnr_of_error, ssim_map, window_centers
from .protocols import Protocol, protocol_of

Progress = Callable[[int, int], None]

# Compares prepared clips [F, H, W, 3] in [0, 1]; returns a number a frame [F], or one for the clip [1].
Measure = Callable[[Tensor, Tensor], Mapping[str, Tensor]]

REGIONS = ("seen", "unseen")


@dataclass(frozen=True)
class Scores:
    """Scores of one method.

    Attributes:
        frames: by the metric's name, a tensor [F] a clip; NaN where a frame has none, as one without holes has no
            score of its holes.
    """

    frames: Mapping[str, tuple[Tensor, ...]]

    @property
    def clips(self) -> dict[str, Tensor]:
        """By the metric's name the mean over frames of every clip [N]; NaN where no frame has a value."""
        return {
            name: torch.stack([values.nanmean() for values in clips]) if clips else torch.zeros(0, dtype=torch.float64)
            for name, clips in self.frames.items()
        }

    @property
    def means(self) -> dict[str, float]:
        """By the metric's name the mean over clips of the means over frames."""
        return {name: float(values.nanmean()) for name, values in self.clips.items()}


def score_clips(
    pred: Tensor | Sequence[Tensor],
    truth: Tensor | Sequence[Tensor],
    *,
    protocol: Protocol | str,
    unseen: Tensor | Sequence[Tensor] | None = None,
    measures: Sequence[Measure] = (),
    progress: Progress | None = None,
) -> Scores:
    """Score clips against the truth.

    Args:
        pred: one clip [F, H, W, 3] in [0, 1], or several.
        truth: the true ego views in the same order.
        protocol: `EgoX` or `Exo2EgoSyn`.
        unseen: what the exo camera did not see: the prior's holes [F, H, W] of every clip, such as `~covered(prior)`.
        measures: further measures, such as those of `evaluation.networks`.
        progress: called with (done, total) after each frame.

    Returns:
        `psnr` and `ssim` of every frame; with `unseen` also `psnr_seen`, `psnr_unseen`, `ssim_seen`, `ssim_unseen`
        and `unseen_percent`; and what the measures add.

    Raises:
        ValueError: if the numbers of clips, frames or pixels do not fit each other.
    """
    protocol = protocol_of(protocol)
    preds, truths = _several(pred), _several(truth)
    holes = [None] * len(preds) if unseen is None else _several(unseen, of_masks=True)
    if not len(preds) == len(truths) == len(holes):
        raise ValueError(
            f"Expected as many scored clips as true ones and masks, got {len(preds)}, {len(truths)} and {len(holes)}."
        )
    total, done, found = sum(len(clip) for clip in preds), 0, []
    for one, true, hole in zip(preds, truths, holes):
        one, true = protocol.pair(one, true)
        if hole is not None and len(hole) != len(one):
            raise ValueError(f"The clip has {len(one)} frames, and the mask of what is unseen {len(hole)}.")
        mask = None if hole is None else protocol.mask(hole, *one.shape[1:3])
        rows = []
        for frame in range(len(one)):
            cancel_point()
            rows.append(_frame_scores(protocol, one[frame], true[frame], None if mask is None else mask[frame]))
            done += 1
            if progress:
                progress(done, total)
        scores = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}
        for measure in measures:
            cancel_point()
            scores |= measure(one, true)
        found.append(scores)
    names = list(dict.fromkeys(name for scores in found for name in scores))
    lacking = torch.full((1,), math.nan, dtype=torch.float64)
    return Scores({name: tuple(scores.get(name, lacking) for scores in found) for name in names})


def _frame_scores(protocol: Protocol, pred: Tensor, truth: Tensor, unseen: Tensor | None) -> dict[str, float]:
    """Score one frame [H, W, 3]; `unseen` is [H, W]."""
    one, true = protocol.compared(pred), protocol.compared(truth)  # [C, H, W]
    errors = (one - true).square().mean(dim=0)  # [H, W]
    similar = ssim_map(one, true).mean(dim=0)  # [H - 10, W - 10]
    scores = {"psnr": psnr_of_error(float(errors.mean())), "ssim": float(similar.mean())}
    if unseen is None:
        return scores
    for region, where in zip(REGIONS, (~unseen, unseen)):
        inner = window_centers(where)
        scores[f"psnr_{region}"] = psnr_of_error(float(errors[where].mean())) if where.any() else math.nan
        scores[f"ssim_{region}"] = float(similar[inner].mean()) if inner.any() else math.nan
    scores["unseen_percent"] = 100 * float(unseen.double().mean())
    return scores


def _several(clips: Tensor | Sequence[Tensor], of_masks: bool = False) -> list[Tensor]:
    """Return one clip, or a batch or list of several, as a list."""
    if isinstance(clips, Tensor) and clips.ndim == (3 if of_masks else 4):
        return [clips]
    return list(clips)
