"""The trunk, and how a head is held over it whose face is hidden."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..body.body import Body
from ..body.facing import Facing
from ..body.guides import Walk
from ..cameras.rotations import vectors_to_matrices

# How far heads are bent down over level shoulders: in the mean of those who stand or sit, who mostly work, and of those
# who go about, who look ahead.
_BENT_DOWN, _BENT_WALKING = math.radians(15), math.radians(-8)
# One standard deviation about the head's x, y and z.
_HELD = tuple(math.radians(angle) for angle in (22, 40, 15))


@dataclass(frozen=True, eq=False)
class Torso:
    """The trunk of one person over F frames, in the exo camera's axes.

    Attributes:
        rotations: [F, 3, 3] from upright axes (x to the right, y down, z to where the trunk faces); NaN where unknown.
        facing_errors: standard deviations of that facing [F], radians; infinite where unknown.
        neck: middle between the shoulders [F, 3], metres; NaN where unknown.
        held: the head's axes as the trunk lets expect them [F, 3, 3]; NaN where unknown.
        held_errors: their standard deviations about the head's x, y and z [F, 3], radians.
    """

    rotations: Tensor
    facing_errors: Tensor
    neck: Tensor
    held: Tensor
    held_errors: Tensor

    def __getitem__(self, frames: Tensor) -> Torso:
        return Torso(*(getattr(self, part.name)[frames] for part in fields(self)))


def torso_of(body: Body, facing: Facing, walk: Walk, down: Tensor) -> Torso:
    """Return the trunk: a head is held over it by the vertical, however far the trunk itself is bent.

    Args:
        body: the person.
        facing: where the trunk faces.
        walk: where the person walks; who did so in a part of the clip goes about in the rest as well.
        down: the unit vector downwards [F, 3].
    """
    right = torch.linalg.cross(down, facing.directions)
    rotations = torch.stack([right, down, facing.directions], dim=-1)
    share = min(1.0, 2 * float(walk.certainty.mean()))
    bent = down.new_tensor([-(1 - share) * _BENT_DOWN - share * _BENT_WALKING, 0.0, 0.0])
    errors = down.new_tensor(_HELD).repeat(len(down), 1)
    errors[:, 1] = torch.hypot(errors[:, 1], facing.errors.clamp_max(math.pi))
    return Torso(
        rotations=rotations,
        facing_errors=facing.errors,
        neck=body.neck,
        held=rotations @ vectors_to_matrices(bent),
        held_errors=errors,
    )
