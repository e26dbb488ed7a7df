"""How well a rendered prior agrees with another one: what both cover, and colours where both do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Compressed black is not quite black: in a decoded video, what exceeds this counts as covered.
VIDEO_BLACK = 16 / 255


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of two clips, frame by frame.

    Attributes:
        iou: intersection over union of the covered pixels [F]; 1 where neither covers any.
        psnr: on the intersection, in dB [F]; NaN where there is none, infinite where equal.
    """

    iou: Tensor
    psnr: Tensor

    @property
    def mean_iou(self) -> float:
        """Mean over the frames."""
        return float(self.iou.mean())

    @property
    def mean_psnr(self) -> float:
        """Mean in dB over the frames with an intersection; NaN if there are none."""
        return float(self.psnr.nanmean())


def covered_pixels(images: Tensor, black: float = VIDEO_BLACK) -> Tensor:
    """Return which pixels of images [..., H, W, C] in [0, 1] have a channel above `black` [..., H, W]."""
    return images.amax(dim=-1) > black


def prior_agreement(images: Tensor, reference: Tensor, black: float = VIDEO_BLACK) -> Agreement:
    """Compare two clips of sparse pictures on black.

    Args:
        images: [F, H, W, 3] in [0, 1].
        reference: of the same shape.
        black: what counts as empty, see `VIDEO_BLACK`.

    Raises:
        ValueError: if the shapes differ.
    """
    if images.shape != reference.shape or images.ndim != 4:
        raise ValueError(
            f"Expected two clips [F, H, W, 3] of one size, got {list(images.shape)} and {list(reference.shape)}."
        )
    ours, theirs = covered_pixels(images, black), covered_pixels(reference, black)
    return Agreement(_iou(ours, theirs), psnr(images, reference, ours & theirs))


def psnr(images: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each frame inside a mask, in dB.

    Args:
        images: [F, H, W, C] in [0, 1].
        reference: of the same shape.
        mask: the pixels that count [F, H, W] bool.

    Returns:
        [F] float64; NaN where no pixel counts, infinite where all are equal.
    """
    squared = (images.double() - reference.double()).square().mean(dim=-1)  # [F, H, W]
    mean = (squared * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
    return -10 * torch.log10(mean)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    shared = (first & second).sum(dim=(1, 2)).double()
    either = (first | second).sum(dim=(1, 2)).double()
    return torch.where(either > 0, shared / either.clamp_min(1), 1.0)
