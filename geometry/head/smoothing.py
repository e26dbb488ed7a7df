"""Smooth a path of poses without lag, and fill what is missing in it.

A pose's place and turn are smoothed by the same penalised least squares (Whittaker, 1923; Eilers, "A perfect smoother",
2003): near the measured values, with small second differences. Past and future count alike, so nothing is delayed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..cameras.rotations import (
    inverse,
    matrices_to_quaternions,
    multiply,
    quaternions_to_matrices,
    quaternions_to_vectors,
    slerp,
    vectors_to_quaternions,
)

_ROUNDS = 8
# Frames that were filled pull with this weight towards the straight way: a cubic would swing out over long gaps.
_FILLED_WEIGHT = 0.02


def fill_gaps(rotations: Tensor, positions: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Fill unknown frames: straight and evenly turning between the known ones around them, held at the ends.

    Args:
        rotations: [F, 3, 3], anything where unknown.
        positions: [F, 3], likewise.
        known: [F] bool.

    Returns:
        Rotations and positions of every frame.

    Raises:
        ValueError: if no frame is known.
    """
    frames = known.nonzero()[:, 0]
    if not len(frames):
        raise ValueError("Expected the pose of at least one frame, got none.")
    every = torch.arange(len(known))
    after = torch.searchsorted(frames, every).clamp_max(len(frames) - 1)
    before = (torch.searchsorted(frames, every, right=True) - 1).clamp_min(0)
    start, end = frames[before], frames[after]
    share = ((every - start) / (end - start).clamp_min(1)).to(positions.dtype).clamp(0, 1)
    quaternions = matrices_to_quaternions(rotations.where(known[:, None, None], torch.eye(3, dtype=rotations.dtype)))
    turned = quaternions_to_matrices(slerp(quaternions[start], quaternions[end], share))
    return turned, torch.lerp(positions[start], positions[end], share[:, None])


def smooth_poses(
    rotations: Tensor, positions: Tensor, period: float, weights: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Smooth a path of poses.

    Args:
        rotations: [F, 3, 3].
        positions: [F, 3].
        period: in frames: a swing of this period keeps half of its size, slower ones keep more. 0 leaves all as it is.
        weights: trust in each frame [F], positive, where known.
        known: [F] bool; other frames hold what `fill_gaps` made.

    Returns:
        Rotations and positions.

    Raises:
        ValueError: if the period is negative.
    """
    if not period >= 0 or not math.isfinite(period):
        raise ValueError(f"Expected a smoothing period of 0 or more frames, got {period}.")
    if period <= 2 or len(positions) < 3:
        return rotations, positions
    relative = (weights / weights[known].median()).where(known, _FILLED_WEIGHT).to(positions.dtype)
    smoother = smoothing_matrix(relative, period)
    measured = matrices_to_quaternions(rotations)
    found = measured
    for _ in range(_ROUNDS):
        # Turns from each frame's present estimate to every measured one, averaged by the smoother's weights.
        between = quaternions_to_vectors(multiply(inverse(found)[:, None], measured[None]))  # [F, F, 3]
        step = (smoother[..., None] * between).sum(dim=1)
        found = torch.nn.functional.normalize(multiply(found, vectors_to_quaternions(step)), dim=-1)
    return quaternions_to_matrices(found), smoother @ positions


def smoothing_matrix(weights: Tensor, period: float) -> Tensor:
    """Return the matrix [F, F] that smooths F values: the least of sum w (x - y)^2 + s sum (second difference of x)^2.

    With equal weights a swing of angular frequency a is scaled by 1 / (1 + s (2 sin(a / 2))^4), which sets s.
    """
    n = len(weights)
    stiffness = (2 * math.sin(math.pi / period)) ** -4
    identity = torch.eye(n, dtype=weights.dtype)
    second = identity[:-2] - 2 * identity[1:-1] + identity[2:]
    return torch.linalg.solve(torch.diag(weights) + stiffness * second.mT @ second, torch.diag(weights))
