"""Find the head's pose in every frame: fits from many starts, and the one way through them that hangs together.

Few points of a small head allow several poses, mirrored ones above all. Each frame keeps what its starts led to, and
dynamic programming (Viterbi) picks the sequence that fits well and moves little.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .head_evidence import HeadEvidence
from .head_fit import ROUNDS, HeadFits, fit_heads
from .rotation_vectors import vectors_to_matrices

# Starts: faces in eight directions around the picture's vertical, level and bent down.
_TURNS = tuple(math.radians(angle) for angle in range(0, 360, 45))
_BENDS = tuple(math.radians(angle) for angle in (0, -40))
# Log-size of a head is 0 +- 0.12 (children and depth that is off), and nearly one value over a clip.
_SIZE_ERROR, _SIZE_ERROR_IN_CLIP = 0.12, 0.02
# What a head does from one frame to the next, one standard deviation; more than the largest cost is a cut.
_TURN_PER_FRAME = math.radians(8)
_STEP_PER_FRAME = 0.04  # metres
_LARGEST_STEP_COST = 12.0


def find_heads(evidence: HeadEvidence, progress: Callable[[int, int], None] | None = None) -> tuple[HeadFits, float]:
    """Fit a head to every frame.

    Args:
        evidence: of F frames, all usable, in order of time; frames may be missing between them.
        progress: called with (rounds done, all rounds) of the fits. May raise to cancel.

    Returns:
        One fit a frame, and the head's size against the model's.
    """
    n = len(evidence)
    starts = _starts()
    each = torch.arange(n).repeat_interleave(len(starts))

    def report(before: int) -> Callable[[int], None] | None:
        return progress and (lambda done: progress(before + done, 2 * ROUNDS))

    fits = fit_heads(evidence[each], starts.repeat(n, 1, 1), _places(evidence)[each], 0.0, _SIZE_ERROR, report(0))
    best = fits[_way_through(fits, n)]
    log_size = _log_size(best, evidence)
    fits = fit_heads(evidence, best.rotations, best.positions, log_size, _SIZE_ERROR_IN_CLIP, report(ROUNDS))
    return fits, math.exp(log_size)


def _starts() -> Tensor:
    """Return upright heads in all directions [S, 3, 3]."""
    turns = vectors_to_matrices(torch.tensor([[0.0, turn, 0.0] for turn in _TURNS], dtype=torch.float64))
    bends = vectors_to_matrices(torch.tensor([[bend, 0.0, 0.0] for bend in _BENDS], dtype=torch.float64))
    return (turns[:, None] @ bends[None]).flatten(0, 1)


def _places(evidence: HeadEvidence) -> Tensor:
    """Return a first guess of the place of every frame's head [F, 3]: on the mean ray, or above the neck."""
    ray = (evidence.rays * evidence.weights[..., None]).sum(dim=1)
    on_ray = ray / ray[:, 2:].clamp_min(1e-6) * evidence.distance[:, None]
    above_neck = evidence.torso.neck - torch.tensor([0.0, 0.2, 0.0], dtype=torch.float64)
    return torch.where((evidence.n_joints > 0)[:, None], on_ray, above_neck).nan_to_num()


def _way_through(fits: HeadFits, n_frames: int) -> Tensor:
    """Return the number of the chosen fit of each frame [F]."""
    costs = fits.costs.view(n_frames, -1)  # [F, S]
    rotations = fits.rotations.view(n_frames, -1, 3, 3)
    positions = fits.positions.view(n_frames, -1, 3)
    total, steps = costs[0], []
    for frame in range(1, n_frames):
        between = torch.einsum("aij,bij->ab", rotations[frame - 1], rotations[frame])  # trace of the turn between
        turn = ((between - 1) / 2).clamp(-1, 1).acos() / _TURN_PER_FRAME
        move = torch.cdist(positions[frame - 1], positions[frame]) / _STEP_PER_FRAME
        step = (0.5 * (turn.square() + move.square())).clamp_max(_LARGEST_STEP_COST)
        reached = (total[:, None] + step).min(dim=0)
        steps.append(reached.indices)
        total = reached.values + costs[frame]
    way = [int(total.argmin())]
    for indices in reversed(steps):
        way.append(int(indices[way[-1]]))
    return torch.tensor(way[::-1]) + torch.arange(n_frames) * costs.shape[1]


def _log_size(fits: HeadFits, evidence: HeadEvidence) -> float:
    """Return the head's log-size over the clip: the weighted median of what the frames that show the face say.

    Each frame's fit was drawn to 0 by what is expected of a head; that is taken out of it, and counted once at the end.
    """
    telling = evidence.shows_face & evidence.depths.isfinite().any(dim=1)
    expected = _SIZE_ERROR**-2
    certainty = 1 / torch.linalg.inv(fits.information[telling])[:, 6, 6]
    own = (certainty - expected).clamp_min(1e-3 * expected)
    values = fits.log_sizes[telling] * certainty / own
    if not len(values):
        return 0.0
    order = values.argsort()
    share = own[order].cumsum(0) / own.sum()
    return float(values[order][int((share < 0.5).sum())] * own.sum() / (own.sum() + expected))
