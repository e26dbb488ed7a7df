"""The trunk's axes: what is known of a head whose face is hidden."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..body.body import Body
from ..body.facing import Facing
from ..head.keypoints import Joint


@dataclass(frozen=True, eq=False)
class Torso:
    """The trunk of one person over F frames, in the exo camera's axes.

    Attributes:
        rotations: [F, 3, 3] from upright axes (x to the right, y down, z to where the trunk faces); NaN where unknown.
        errors: of that facing, about the vertical [F], radians; infinite where unknown.
        neck: middle between the shoulders [F, 3], metres; NaN where unknown.
    """

    rotations: Tensor
    errors: Tensor
    neck: Tensor

    def __getitem__(self, frames: Tensor) -> Torso:
        return Torso(*(getattr(self, part.name)[frames] for part in fields(self)))


def torso_of(body: Body, facing: Facing, down: Tensor) -> Torso:
    """Return the trunk: a head is held over it by the vertical, however far the trunk itself is bent.

    Args:
        body: the person.
        facing: where the trunk faces.
        down: the unit vector downwards [F, 3].
    """
    right = torch.linalg.cross(down, facing.directions)
    shoulders = body.middle(Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER, Joint.NECK, flat=True)
    neck = body.neck
    return Torso(
        rotations=torch.stack([right, down, facing.directions], dim=-1),
        errors=facing.errors,
        neck=neck.where(neck.isfinite(), shoulders),
    )
