"""A take in another size: clip, depth, cameras and ego views together."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..common.wan_grid import SPATIAL_STRIDE
from .take import Take
from .video import squeezed


def resized_take(take: Take, height: int) -> Take:
    """Return a take whose views are `height` pixels high.

    The exo clip becomes as wide as whole tokens of 16 pixels go into it; what is left over is cut off, half on each
    side, and its camera follows. The ego views keep their shape.

    Raises:
        ValueError: if the height is not a positive multiple of 16, or the clip is too narrow for one token.
    """
    if height < SPATIAL_STRIDE or height % SPATIAL_STRIDE:
        raise ValueError(f"The height of a take is a multiple of {SPATIAL_STRIDE} pixels, got {height}.")
    _, old_height, old_width, _ = take.exo.shape
    width = whole_tokens(old_width, old_height, height)
    if not width:
        raise ValueError(
            f"The exo clip is {old_width} x {old_height}: at a height of {height} it is narrower than "
            f"{SPATIAL_STRIDE} pixels. Give a larger height."
        )
    kept = round(width * old_height / height)
    left = (old_width - kept) // 2
    ego_width = round(take.ego_camera.width * height / take.ego_camera.height)

    def ego(video: Tensor | None) -> Tensor | None:
        return None if video is None else squeezed(video, ego_width, height)

    return replace(
        take,
        exo=squeezed(take.exo[:, :, left : left + kept], width, height),
        exo_camera=take.exo_camera.cropped(left, 0, kept, old_height).resized(width, height),
        depth=take.depth.cropped(left, 0, kept, old_height).resized(width, height),
        ego_camera=take.ego_camera.resized(ego_width, height),
        ego_prior=ego(take.ego_prior),
        ego_truth=ego(take.ego_truth),
    )


def whole_tokens(width: int, height: int, to_height: int) -> int:
    """Return the greatest width of whole tokens that an image has at another height; 0 for less than one."""
    return width * to_height // (height * SPATIAL_STRIDE) * SPATIAL_STRIDE
