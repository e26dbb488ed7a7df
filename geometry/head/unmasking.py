"""Which faces a detector saw, and which it made up: it marks a nose, eyes and ears on the back of a head as well.

Three witnesses speak in every frame, and neighbouring frames for each other: the trunk, over which no head turns
around; the depth, by which a nose is nearer than ears or further away; and walking, which is forwards as a rule. A
face that looks away from the camera by its own account was not seen, whatever the others say.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .evidence import HeadEvidence
from .fit import HeadFits
from .keypoints import HEAD_JOINTS, Joint
from .model import HEAD_POINTS

# Log-odds that three and more joints of a head are a face that was seen.
_MOSTLY_SEEN = 2.5
# No witness alone says more than this.
_LOUDEST = 4.0
_NECK = math.radians(45)  # how far heads turn over trunks, one standard deviation
_DEPTH_ERROR = (0.03, 0.01)  # of the depth between parts of a head, metres and as a share of the depth
_BACKWARDS = 0.15  # share of walking that is not forwards
# Faces that look away further than this from the way to the camera are seen from behind; cheeks show up to there.
_AWAY = math.cos(math.radians(138))
_GUESSED = 1.5  # error of a guessed face for each degree beyond profile: heads were up to 40 off at 25 (take joker)
_FRAMES = 4  # on either side that speak for each other
_EARS = [HEAD_JOINTS.index(joint) for joint in (Joint.LEFT_EAR, Joint.RIGHT_EAR)]
_FRONT = [HEAD_JOINTS.index(joint) for joint in (Joint.NOSE, Joint.LEFT_EYE, Joint.RIGHT_EYE)]


def faces_seen(fits: HeadFits, evidence: HeadEvidence) -> Tensor:
    """Return in which frames the fitted faces were seen [F] bool; axes from an estimator count as seen.

    Args:
        fits: of heads to all of the evidence, one a frame.
        evidence: of the same F frames.
    """
    odds = _by_trunk(fits, evidence) + _by_depth(fits, evidence) + _by_walking(fits, evidence)
    towards = -torch.nn.functional.normalize(fits.positions, dim=-1)
    away = (fits.rotations[:, :, 2] * towards).sum(dim=-1) < _AWAY
    is_face = evidence.n_joints >= 3
    odds = (odds + _MOSTLY_SEEN).where(is_face, torch.nan)
    return ((_over_neighbours(odds) >= 0) & ~(away & is_face)) | evidence.has_rotation


def guessing_errors(fits: HeadFits, evidence: HeadEvidence) -> Tensor:
    """Return the errors of where faces look [F], radians, that come from joints which nobody can see.

    A detector that marks all of a face which by its own account is turned beyond profile has guessed: it stays near the
    profile while heads turn on. 0 where a joint of the head is missing, as it should be, or an estimator gave axes.
    """
    towards = -torch.nn.functional.normalize(fits.positions, dim=-1)
    turned = (fits.rotations[:, :, 2] * towards).sum(dim=-1).clamp(-1, 1).acos()
    guessed = (evidence.n_joints == len(HEAD_JOINTS)) & evidence.shows_face & ~evidence.has_rotation
    return (_GUESSED * (turned - math.pi / 2).clamp_min(0)).where(guessed, 0.0)


def _by_trunk(fits: HeadFits, evidence: HeadEvidence) -> Tensor:
    """Log-odds [F] by how far the head is turned over the trunk, against any turn."""
    facing, down = evidence.torso.rotations[:, :, 2], evidence.down
    turn = _level_angle(fits.rotations[:, :, 2], facing, down)
    error = torch.hypot(torch.full_like(turn, _NECK), evidence.torso.facing_errors)
    likely = -0.5 * (turn / error).square() + (math.sqrt(2 * math.pi) / error).log()
    return likely.nan_to_num(0.0, neginf=0.0).clamp(-_LOUDEST, _LOUDEST)


def _by_depth(fits: HeadFits, evidence: HeadEvidence) -> Tensor:
    """Log-odds [F] by how much nearer nose and eyes are than ears: as the face has it, or not at all."""
    model = fits.rotations @ (HEAD_POINTS[_FRONT].mean(dim=0) - HEAD_POINTS[_EARS].mean(dim=0))
    expected = model[:, 2] * fits.log_sizes.exp()
    measured = evidence.depths[:, _FRONT].nanmean(dim=1) - evidence.depths[:, _EARS].nanmean(dim=1)
    error = _DEPTH_ERROR[0] + _DEPTH_ERROR[1] * evidence.distance
    odds = 0.5 * (measured / error).square() - 0.5 * ((measured - expected) / error).square()
    return odds.nan_to_num(0.0).clamp(-_LOUDEST, _LOUDEST)


def _by_walking(fits: HeadFits, evidence: HeadEvidence) -> Tensor:
    """Log-odds [F] by where the person walks: people walk where they look, or aside, and seldom backwards."""
    forwards = _level_angle(fits.rotations[:, :, 2], evidence.walk.directions, evidence.down).cos()
    return (evidence.walk.certainty * forwards * 0.5 * math.log((1 - _BACKWARDS) / _BACKWARDS)).nan_to_num(0.0)


def _level_angle(a: Tensor, b: Tensor, down: Tensor) -> Tensor:
    """Return the angles between directions [F, 3], seen along the vertical [F, 3]."""
    flat = [v - (v * down).sum(dim=-1, keepdim=True) * down for v in (a, b)]
    across = (torch.linalg.cross(*flat) * down).sum(dim=-1)
    return torch.atan2(across, (flat[0] * flat[1]).sum(dim=-1)).abs()


def _over_neighbours(odds: Tensor) -> Tensor:
    """Return the mean of odds [F] over the frames around each that have some; 0 where none has."""
    padded = torch.nn.functional.pad(odds, (_FRAMES, _FRAMES), value=torch.nan)
    return padded.unfold(0, 2 * _FRAMES + 1, 1).nanmean(dim=-1).nan_to_num(0.0)
