"""The trunk's axes from shoulders and hips: what is known of a head whose face is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .keypoints import Joint

# Shoulder joints of adults lie about 0.36 m apart; where depth says otherwise one of them shows another surface.
_SHOULDERS_APART = (0.15, 0.60)  # metres
_HIPS_BELOW = 0.25  # metres below the shoulders, at least


@dataclass(frozen=True, eq=False)
class Torso:
    """The trunk of one person over F frames, in the exo camera's axes.

    Attributes:
        rotations: [F, 3, 3] from the trunk's axes (x to its right, y down, z ahead); NaN where unknown.
        neck: middle between the shoulders [F, 3], metres; NaN where unknown.
        down: unit vector from the neck to the hips [F, 3]; NaN where hips are not seen.
    """

    rotations: Tensor
    neck: Tensor
    down: Tensor


def torso_of(points: Tensor) -> Torso:
    """Find the trunk in joints in the exo camera's axes [F, J, 3], metres; NaN where not known.

    Without hips the trunk counts as upright in the picture.
    """
    left, right = points[:, Joint.LEFT_SHOULDER], points[:, Joint.RIGHT_SHOULDER]
    across = right - left  # [F, 3]
    length = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    plausible = (length > _SHOULDERS_APART[0]) & (length < _SHOULDERS_APART[1])  # false for NaN
    middle = (left + right) / 2
    # The neck of OpenPose is that same middle; it stands in where a shoulder is hidden.
    neck = torch.where(middle.isfinite(), middle, points[:, Joint.NECK])
    hips = points[:, [Joint.LEFT_HIP, Joint.RIGHT_HIP]].nanmean(dim=1)
    trunk = hips - neck
    has_hips = torch.linalg.vector_norm(trunk, dim=-1, keepdim=True) > _HIPS_BELOW
    down = torch.nn.functional.normalize(trunk, dim=-1).where(has_hips, torch.nan)
    upright = torch.where(has_hips, down, points.new_tensor([0, 1, 0]).expand_as(trunk))
    x = torch.nn.functional.normalize(across, dim=-1)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, upright), dim=-1)
    rotations = torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)
    usable = plausible[..., None] & rotations.isfinite().all(dim=(1, 2), keepdim=True)
    return Torso(rotations.where(usable, torch.nan), neck, down)
