"""What says where somebody looks when the face does not: where they walk, and what their hands do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..head.keypoints import Joint, Limb
from .body import Body, place_of

# Frames over which a way is measured, to both sides; half of a second and more at the rates of these clips.
_HALF_WINDOW = 6
_STEADY = 4  # frames on either side over which the place is made steady
# Metres in 2 * _HALF_WINDOW frames at an adult's size: who sways goes less far than the first, who walks the second.
_SWAYING, _WALKING = 0.12, 0.30

# Hands count which an arm may reach, at an adult's size, metres: from the neck, and from their own elbow.
_FROM_NECK, _FROM_ELBOW = (0.20, 0.85), 0.42
_SURE = 0.3  # confidence of a wrist
_TOGETHER = 0.45  # metres: hands this near do one thing
_LOWEST = math.radians(62)  # below the horizon; arms that hang further down do nothing
_ASIDE = math.radians(80)  # from where the trunk faces
BOTH_HANDS, ONE_HAND = math.radians(12), math.radians(22)  # how far off looks are from hands, one standard deviation


@dataclass(frozen=True, eq=False)
class Guide:
    """Directions in the exo camera's axes.

    Attributes:
        directions: unit vectors [F, 3]; anything where there is none.
        errors: their standard deviations [F], radians; infinite where there is none.
    """

    directions: Tensor
    errors: Tensor

    def __getitem__(self, frames: Tensor) -> Guide:
        return Guide(self.directions[frames], self.errors[frames])


@dataclass(frozen=True, eq=False)
class Walk:
    """Where somebody goes.

    Attributes:
        directions: level unit vectors in the exo camera's axes [F, 3]; anything where nobody goes.
        speeds: metres in twelve frames [F] at an adult's size; 0 where unknown.
    """

    directions: Tensor
    speeds: Tensor

    def __getitem__(self, frames: Tensor) -> Walk:
        return Walk(self.directions[frames], self.speeds[frames])

    @property
    def certainty(self) -> Tensor:
        """How surely the person walks [F], 0 to 1."""
        return ((self.speeds - _SWAYING) / (_WALKING - _SWAYING)).clamp(0, 1)


def walk_of(body: Body, down: Tensor, size: float) -> Walk:
    """Find where a person walks.

    Args:
        body: the person.
        down: the unit vector downwards [F, 3].
        size: of the person against an adult's mean.
    """
    trunk = (Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER, Joint.LEFT_HIP, Joint.RIGHT_HIP)
    middles = body.middle(*trunk, flat=True)
    places = (body.to_world @ middles[..., None])[..., 0] + body.camera.centers
    places = _steady(places)
    frames = torch.arange(len(places))
    before, after = (frames - _HALF_WINDOW).clamp_min(0), (frames + _HALF_WINDOW).clamp_max(len(places) - 1)
    ways = (places[after] - places[before]) * (2 * _HALF_WINDOW / (after - before).clamp_min(1))[:, None]
    ways = (body.to_world.mT @ ways[..., None])[..., 0]
    ways = ways - (ways * down).sum(dim=-1, keepdim=True) * down
    speeds = torch.linalg.vector_norm(ways, dim=-1).nan_to_num(0.0) / size
    if len(places) <= _HALF_WINDOW:
        speeds = torch.zeros_like(speeds)
    return Walk(torch.nn.functional.normalize(ways.nan_to_num(0.0), dim=-1), speeds)


def hands_of(body: Body, down: Tensor, facing: Tensor, walk: Walk, size: float) -> Guide:
    """Find where hands work: people look at what they do with them, unless they walk and swing their arms.

    The direction is that from the neck to the hands' middle: arms are bent, so it is less steep than from the eyes,
    and what hands hold lies beyond them.

    Args:
        body: the person.
        down: the unit vector downwards [F, 3].
        facing: where the trunk faces [F, 3]; NaN where unknown.
        walk: where the person walks.
        size: of the person against an adult's mean.
    """
    neck = body.neck
    arms = ((Limb.LEFT_ELBOW, Limb.LEFT_WRIST), (Limb.RIGHT_ELBOW, Limb.RIGHT_WRIST))
    hands = torch.stack([_hand(body, neck, elbow, wrist, size) for elbow, wrist in arms], dim=1)  # [F, 2, 3]
    ways = hands - neck[:, None]
    steep = (torch.nn.functional.normalize(ways, dim=-1) * down[:, None]).sum(dim=-1).clamp(-1, 1).asin()
    ahead = (torch.nn.functional.normalize(ways, dim=-1) * facing[:, None]).sum(dim=-1) > math.cos(_ASIDE)
    ahead |= facing.isnan().any(dim=-1, keepdim=True)
    used = ways.isfinite().all(dim=-1) & (steep < _LOWEST) & ahead  # [F, 2]
    apart = torch.linalg.vector_norm(hands[:, 0] - hands[:, 1], dim=-1)
    together = used.all(dim=-1) & (apart < _TOGETHER * size)
    mean = ways.where(used[..., None], torch.nan).nanmean(dim=1)
    errors = torch.where(together, BOTH_HANDS, ONE_HAND).to(torch.float64) / (1 - walk.certainty)
    errors = errors.where(used.any(dim=-1), torch.inf)
    return Guide(torch.nn.functional.normalize(mean, dim=-1).nan_to_num(0.0), errors)


def _hand(body: Body, neck: Tensor, elbow: Limb, wrist: Limb, size: float) -> Tensor:
    """Return where a hand is [F, 3]; NaN where that is unknown or no arm reaches there."""
    hand = body.middle(wrist)
    reach = torch.linalg.vector_norm(hand - neck, dim=-1)
    arm = torch.linalg.vector_norm(hand - body.middle(elbow), dim=-1).nan_to_num(0.0)
    known = (reach > _FROM_NECK[0] * size) & (reach < _FROM_NECK[1] * size) & (arm < _FROM_ELBOW * size)
    known &= body.confidence[:, place_of(wrist)] >= _SURE
    return hand.where(known[:, None], torch.nan)


def _steady(places: Tensor) -> Tensor:
    """Return the running median of places [F, 3] over the frames that have one."""
    padded = torch.nn.functional.pad(places.T, (_STEADY, _STEADY), value=torch.nan)
    return padded.unfold(1, 2 * _STEADY + 1, 1).nanmedian(dim=-1).values.T
