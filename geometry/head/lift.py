"""Metric depth at the joints of a person: medians of patches, kept only where they lie on that person's body."""

from __future__ import annotations

import torch
from torch import Tensor

from .keypoints import Keypoints

# Half the side of a joint's patch, as a share of the picture's width: 7 x 7 pixels at 784.
_PATCH = 0.004
# Head and trunk lie within this of one depth, in metres; beyond it a patch shows the wall behind or an arm before them.
_BODY_BAND = 0.35
# Hands and feet may be this far before or behind the body, metres.
_REACH = 0.9
# Frames on either side over which the body's depth is made steady against somebody who walks through.
_STEADY = 4
# A patch must show this many pixels of the body.
_LEAST_PIXELS = 3


def joint_depths(keypoints: Keypoints, metres: Tensor) -> Tensor:
    """Return the depth z in metres of the surface at each joint.

    The depth of the body is the one that most patches agree on, and steady over a few frames. Pixels further than
    `_BODY_BAND` from it are left out: at the outline of a head half of a patch is wall. The median of the rest counts.

    Args:
        keypoints: one person over F frames, in pixels of the depth maps.
        metres: [F, H, W], 0 where invalid.

    Returns:
        [F, J] float64, NaN where the joint was not found, lies outside the picture, or nothing of the body is there.
    """
    patches = _patches(keypoints.pixels, keypoints.seen, metres)  # [F, J, P], NaN where invalid
    return _medians(patches, _steady(_body_depths(patches)), _BODY_BAND)


def limb_depths(limbs: Tensor, metres: Tensor, body: Tensor) -> Tensor:
    """Return the depth z in metres of the surface at joints of arms and legs [F, L], NaN as in `joint_depths`.

    Args:
        limbs: [F, L, 3], column and row in pixels of the depth maps, and confidence.
        metres: [F, H, W], 0 where invalid.
        body: depth of the body [F], NaN where unknown.
    """
    return _medians(_patches(limbs[..., :2], limbs[..., 2] > 0, metres), body, _REACH)


def _medians(patches: Tensor, body: Tensor, band: float) -> Tensor:
    on_body = (patches - body[:, None, None]).abs() <= band  # false for NaN
    enough = on_body.sum(dim=-1) >= _LEAST_PIXELS
    return patches.where(on_body, torch.nan).nanmedian(dim=-1).values.where(enough, torch.nan)


def _patches(pixels: Tensor, seen: Tensor, metres: Tensor) -> Tensor:
    n_frames, height, width = metres.shape
    half = max(2, round(_PATCH * width))
    steps = torch.arange(-half, half + 1)
    columns = pixels[..., 0].nan_to_num().floor().long()[..., None] + steps  # [F, J, S]
    rows = pixels[..., 1].nan_to_num().floor().long()[..., None] + steps
    columns_inside, rows_inside = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    frames = torch.arange(n_frames)[:, None, None, None]
    values = metres[frames, rows.clamp(0, height - 1)[..., :, None], columns.clamp(0, width - 1)[..., None, :]]
    inside = rows_inside[..., :, None] & columns_inside[..., None, :] & seen[..., None, None]
    return values.to(torch.float64).where(inside & (values > 0), torch.nan).flatten(2)


def _body_depths(patches: Tensor) -> Tensor:
    """Return the depth [F] that has most pixels of all patches around it, NaN where there is none."""
    candidates = patches.nanmedian(dim=-1).values  # [F, J]
    near = (patches.flatten(1)[:, None] - candidates[..., None]).abs() <= _BODY_BAND  # [F, J, J * P]
    support = near.sum(dim=-1)
    best = support.argmax(dim=1, keepdim=True)
    return candidates.gather(1, best)[:, 0].where(support.amax(dim=1) > 0, torch.nan)


def _steady(depths: Tensor) -> Tensor:
    """Return the running median of depths [F] over the frames that have one; NaN stays where no neighbour has one."""
    padded = torch.nn.functional.pad(depths, (_STEADY, _STEADY), value=torch.nan)
    return padded.unfold(0, 2 * _STEADY + 1, 1).nanmedian(dim=-1).values
