"""The trunk, and how a head is held over it whose face is hidden."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..body.body import Body, place_of
from ..body.facing import Facing
from ..body.guides import Walk
from ..cameras.rotations import vectors_to_matrices
from .keypoints import Joint

# How far heads are bent down over level shoulders: in the mean of those who stand or sit, who mostly work, and of those
# who go about, who look ahead.
_BENT_DOWN, _BENT_WALKING = math.radians(15), math.radians(-8)
_HALF_SHOULDERS = 0.18  # metres from the neck to a shoulder's joint
# A trunk from neck to hips is at least so long, metres of an adult, and leans less than this: else its depth is off.
_SHORTEST, _LEANS = 0.25, math.cos(math.radians(60))
# One standard deviation about the head's x, y and z.
_HELD = tuple(math.radians(angle) for angle in (22, 40, 15))


@dataclass(frozen=True, eq=False)
class Torso:
    """The trunk of one person over F frames, in the exo camera's axes.

    Attributes:
        rotations: [F, 3, 3] from upright axes (x to the right, y down, z to where the trunk faces); NaN where unknown.
        facing_errors: standard deviations of that facing [F], radians; infinite where unknown.
        leaning: likewise, leaning half as far as the trunk itself: the eyes lie over the neck by it [F, 3, 3].
        neck: middle between the shoulders [F, 3], metres; NaN where unknown.
        held: the head's axes as the trunk lets expect them [F, 3, 3]; NaN where unknown.
        held_errors: their standard deviations about the head's x, y and z [F, 3], radians.
    """

    rotations: Tensor
    facing_errors: Tensor
    leaning: Tensor
    neck: Tensor
    held: Tensor
    held_errors: Tensor

    def __getitem__(self, frames: Tensor) -> Torso:
        return Torso(*(getattr(self, part.name)[frames] for part in fields(self)))

    def where(self, frames: Tensor, other: Torso) -> Torso:
        """Return this trunk in these frames [F] bool, and the other one elsewhere."""
        pairs = ((getattr(self, part.name), getattr(other, part.name)) for part in fields(self))
        return Torso(*(torch.where(frames.view(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in pairs))


def torso_of(body: Body, facing: Facing, walk: Walk, down: Tensor, size: float) -> Torso:
    """Return the trunk: a head is held over it by the vertical, however far the trunk itself is bent.

    Args:
        body: the person.
        facing: where the trunk faces.
        walk: where the person walks; who did so in a part of the clip goes about in the rest as well.
        down: the unit vector downwards [F, 3].
        size: of the person against an adult's mean.
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
        leaning=_leaning(body, facing.directions, down),
        neck=_neck(body, right, size),
        held=rotations @ vectors_to_matrices(bent),
        held_errors=errors,
    )


def _neck(body: Body, right: Tensor, size: float) -> Tensor:
    """Return the middle between the shoulders [F, 3], also where the near one hides the other, whose depth it has."""
    shoulders = body.depths[:, [place_of(Joint.LEFT_SHOULDER), place_of(Joint.RIGHT_SHOULDER)]]
    least = shoulders.amin(dim=1) + _HALF_SHOULDERS * size * right[:, 2].abs()
    depth = body.neck[:, 2]
    further = torch.fmax(depth, least.nan_to_num(-math.inf))
    return body.neck * (further / depth)[:, None]


def _leaning(body: Body, ahead: Tensor, down: Tensor) -> Tensor:
    """Return upright axes [F, 3, 3] that lean half as far as the trunk, where its hips lie where hips can be.

    Half: the rest is that bellies and shoulders are not equally deep under the surface, which depth does not tell.
    """
    trunk = body.middle(Joint.LEFT_HIP, Joint.RIGHT_HIP) - body.neck
    along = torch.nn.functional.normalize(trunk, dim=-1)
    known = (torch.linalg.vector_norm(trunk, dim=-1) > _SHORTEST) & ((along * down).sum(dim=-1) > _LEANS)
    along = torch.nn.functional.normalize(down + along.where(known[:, None], down), dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(along, ahead), dim=-1)
    return torch.stack([right, along, torch.linalg.cross(right, along)], dim=-1)
