"""Show pictures through another lens from the same place, such as a fisheye's pictures as a pinhole's."""

from __future__ import annotations

import torch
from torch import Tensor

from ..lenses import Lens
from .camera import Camera


def through_lens(frames: Tensor, lens: Lens, target: Camera) -> Tensor:
    """Resample pictures bilinearly.

    Nothing is smoothed: where the target has fewer pixels than the source, shrink the source first.

    Args:
        frames: [F, H, W, 3], taken through `lens`.
        lens: the lens of the pictures at their own size.
        target: the camera whose lens and size the new pictures have; its poses do not count.

    Returns:
        [F, target.height, target.width, 3]; black where the old pictures show nothing.
    """
    pixels, valid = lens.project(target.local_rays)  # [h, w, 2], [h, w]
    grid = pixels / pixels.new_tensor([frames.shape[2], frames.shape[1]]) * 2 - 1
    grid = torch.where(valid[..., None], grid, -2).to(frames)  # -2 lies outside, hence black
    resampled = torch.nn.functional.grid_sample(
        frames.movedim(-1, 1), grid.expand(len(frames), *grid.shape), padding_mode="zeros", align_corners=False
    )
    return resampled.movedim(1, -1)
