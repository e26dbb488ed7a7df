"""Baselines that invent nothing: an ego prior whose holes are filled by what lies around them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.cancel import cancel_point

TELEA_RADIUS = 3  # pixels that the inpainting looks at around a hole
_NOTHING = 0.5  # the color of a frame that shows nothing at all


def mean_color_fill(prior: Tensor, unseen: Tensor) -> Tensor:
    """Fill the holes of each frame with the mean color of what it shows.

    Args:
        prior: [F, H, W, 3] in [0, 1].
        unseen: its holes [F, H, W].

    Returns:
        [F, H, W, 3].
    """
    filled = prior[..., :3].clone()
    for frame, hole in zip(filled, unseen):
        seen = frame[~hole]  # [pixels, 3]
        frame[hole] = seen.mean(dim=0) if len(seen) else frame.new_full((3,), _NOTHING)
    return filled


def telea_fill(prior: Tensor, unseen: Tensor) -> Tensor:
    """Fill the holes of each frame from their edges inward (Telea 2004, OpenCV's `INPAINT_TELEA`).

    Args:
        prior: [F, H, W, 3] in [0, 1].
        unseen: its holes [F, H, W].

    Returns:
        [F, H, W, 3].

    Raises:
        ModuleNotFoundError: if OpenCV is not installed.
    """
    import cv2

    filled = []
    for frame, hole in zip(prior, unseen):
        cancel_point()
        if hole.all():
            filled.append(torch.full_like(frame[..., :3], _NOTHING))
            continue
        pixels = frame[..., :3].mul(255).round().byte().contiguous().numpy()
        painted = cv2.inpaint(pixels, hole.byte().numpy(), TELEA_RADIUS, cv2.INPAINT_TELEA)
        filled.append(torch.from_numpy(painted).float().div(255))
    return torch.stack(filled)


FILLS = {"prior + mean color": mean_color_fill, "prior + Telea": telea_fill}
