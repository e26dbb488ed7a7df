"""Where the trunk faces, frame by frame, from shoulders, hips, head and walking; without the face.

Every direction around the vertical is weighed by what it explains: how far shoulders and hips lie apart in the picture
and which is left (a back shows them the other way round than a chest), which of them is nearer, on which side of the
trunk the head is, for heads are ahead of shoulders, and where the person walks. Directions change little from frame to
frame, so that all frames speak for each other (forward-backward sums of a hidden Markov model on a circle).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..head.keypoints import Joint
from .body import HEAD_PLACES, Body, place_of
from .guides import Walk

_DIRECTIONS = 72  # steps of 5 degrees
# Distances between the joints that estimators mark, metres, of an adult.
_PAIRS = ((Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER, 0.36), (Joint.LEFT_HIP, Joint.RIGHT_HIP, 0.20))
# Their error in the picture, as a share of that distance and in metres; in height, metres (people lean).
_ASIDE_ERROR, _HEIGHT_ERROR = (0.15, 0.02), 0.10
# In depth, metres and as a share of the depth, at best: monocular depth flattens people, and each clip shows how much.
_DEPTH_ERROR = (0.04, 0.01)
_PIXEL_ERROR = 2 / 784  # of the picture's width
_HEAD_AHEAD, _HEAD_ERROR = 0.10, 0.12  # metres by which the head's joints are ahead of the shoulders
_WALK_ERROR, _WALK_WEIGHT = math.radians(50), 4.0
_CAUCHY = 2.0
_TURN = math.radians(14)  # from one frame to the next, one standard deviation
# Errors of neighbouring frames are alike: so many frames say as much as one.
_ALIKE = 4.0
_LEAST_ERROR = math.radians(10)  # of any body against the one assumed here


@dataclass(frozen=True, eq=False)
class Facing:
    """Where a trunk faces.

    Attributes:
        directions: level unit vectors in the exo camera's axes [F, 3]; NaN in frames without shoulders and hips.
        errors: their standard deviations about the vertical [F], radians; infinite where unknown.
    """

    directions: Tensor
    errors: Tensor


def find_facing(body: Body, down: Tensor, walk: Walk, size: float) -> Facing:
    """Find where the trunk faces.

    Args:
        body: the person.
        down: the unit vector downwards [F, 3]; one for the clip in the world.
        walk: where the person walks.
        size: of the person against an adult's mean.
    """
    ahead, right = _grid(body, down)  # [F, D, 3]
    likely = torch.zeros(ahead.shape[:2], dtype=torch.float64)
    seen = torch.zeros(len(body), dtype=torch.bool)
    joints = [joint for pair in _PAIRS for joint in pair[:2]]
    toward = torch.nn.functional.normalize(body.middle(*joints, flat=True), dim=-1)
    across = torch.nn.functional.normalize(torch.linalg.cross(down, toward), dim=-1)  # the picture's right, level
    below = torch.linalg.cross(toward, across)
    flat = body.flat_points
    pixel = _PIXEL_ERROR * body.camera.width * body.distance * _pixel_angle(body)
    for left, other, width in _PAIRS:
        way = flat[:, place_of(other)] - flat[:, place_of(left)]
        expected = width * size * right
        error = torch.hypot(pixel, torch.full_like(pixel, _ASIDE_ERROR[0] * width * size + _ASIDE_ERROR[1]))
        likely += _gauss((_dot(way, across)[:, None] - _dots(expected, across)) / error[:, None])
        likely += _cauchy((_dot(way, below)[:, None] - _dots(expected, below)) / (_HEIGHT_ERROR * size))
        behind = body.depths[:, place_of(other)] - body.depths[:, place_of(left)]
        at_best = _DEPTH_ERROR[0] * size + _DEPTH_ERROR[1] * body.distance
        error = torch.hypot(at_best, _flattening(behind, _dot(way, across), width * size))
        likely += _cauchy((behind[:, None] - expected[..., 2]) / error[:, None])
        seen |= way.isfinite().all(dim=-1)
    head = flat[:, list(HEAD_PLACES)].nanmean(dim=1) - body.middle(Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER, flat=True)
    likely += _cauchy((_dot(head, across)[:, None] - _HEAD_AHEAD * size * _dots(ahead, across)) / (_HEAD_ERROR * size))
    away = _dots(ahead, walk.directions).clamp(-1, 1).acos()
    likely += _WALK_WEIGHT * walk.certainty[:, None] * _cauchy(away / _WALK_ERROR)
    shares = _smoothed(likely.where(seen[:, None], 0.0) / _ALIKE)
    mean = (shares[..., None] * ahead).sum(dim=1)
    length = torch.linalg.vector_norm(mean, dim=-1).clamp(1e-6, 1 - 1e-9)
    errors = torch.hypot((-2 * length.log()).sqrt(), torch.tensor(_LEAST_ERROR, dtype=torch.float64))
    directions = torch.nn.functional.normalize(mean, dim=-1)
    return Facing(directions.where(seen[:, None], torch.nan), errors.where(seen, torch.inf))


def _grid(body: Body, down: Tensor) -> tuple[Tensor, Tensor]:
    """Return level directions all around and what is to the right of them, [F, D, 3], at fixed places in the world."""
    world_down = body.to_world[0] @ down[0]
    start = torch.eye(3, dtype=torch.float64)[int(world_down.abs().argmin())]
    first = torch.nn.functional.normalize(torch.linalg.cross(world_down, start), dim=0)
    second = torch.linalg.cross(world_down, first)
    angles = torch.arange(_DIRECTIONS, dtype=torch.float64) * (2 * math.pi / _DIRECTIONS)
    ahead = angles.cos()[:, None] * first + angles.sin()[:, None] * second  # [D, 3]
    right = torch.linalg.cross(world_down.expand_as(ahead), ahead)
    return ahead @ body.to_world, right @ body.to_world


def _flattening(behind: Tensor, aside: Tensor, width: float) -> Tensor:
    """Return the error of depth over a clip, metres: how far two joints [F] are from as much apart as they should be.

    What is not beside each other in the picture must be behind each other in depth.
    """
    lacks = behind.abs() - (width**2 - aside.square()).clamp_min(0).sqrt()
    return 1.5 * lacks.abs().nanmedian().nan_to_num(0.0)  # of a median, as a standard deviation


def _pixel_angle(body: Body) -> float:
    """Return the angle in radians that a pixel spans in the middle of the picture."""
    center = torch.tensor([body.camera.width / 2, body.camera.height / 2], dtype=torch.float64)
    rays = body.camera.lens.unproject(torch.stack([center, center + torch.tensor([1.0, 0.0], dtype=torch.float64)]))
    return float(torch.linalg.vector_norm(rays[1] - rays[0]))


def _smoothed(likely: Tensor) -> Tensor:
    """Return how probable each direction is in each frame by all frames [F, D], from log-likelihoods [F, D]."""
    steps = torch.arange(_DIRECTIONS, dtype=torch.float64)
    turns = (steps[:, None] - steps + _DIRECTIONS / 2) % _DIRECTIONS - _DIRECTIONS / 2
    turns = torch.exp(-0.5 * (turns * (2 * math.pi / _DIRECTIONS) / _TURN).square()) + 1e-6
    turns = turns / turns.sum(dim=1, keepdim=True)
    weights = (likely - likely.amax(dim=1, keepdim=True)).exp()
    before, after = [weights[0]], [torch.ones(_DIRECTIONS, dtype=torch.float64)]
    for weight in weights[1:]:
        moved = (before[-1] @ turns) * weight
        before.append(moved / moved.sum())
    for weight in weights[1:].flip(0):
        moved = turns @ (after[-1] * weight)
        after.append(moved / moved.sum())
    shares = torch.stack(before) * torch.stack(after[::-1])
    return shares / shares.sum(dim=1, keepdim=True)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=-1)


def _dots(grid: Tensor, b: Tensor) -> Tensor:
    """Return products [F, D] of vectors [F, D, 3] and [F, 3]."""
    return (grid @ b[..., None])[..., 0]


def _gauss(residual: Tensor) -> Tensor:
    """Return log-likelihoods; what is unknown speaks for nothing."""
    return (-0.5 * residual.square()).nan_to_num(0.0)


def _cauchy(residual: Tensor) -> Tensor:
    return (-0.5 * _CAUCHY**2 * torch.log1p((residual / _CAUCHY).square())).nan_to_num(0.0)
