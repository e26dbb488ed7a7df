"""Find the head's pose in every frame: fits from many starts, of which the best counts, with one size for the clip.

Few points of a small head allow several poses, mirrored ones above all; a single start may end in the wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..cameras.rotations import vectors_to_matrices
from .evidence import HeadEvidence
from .fit import ROUNDS, HeadFits, fit_heads
from .unmasking import faces_seen

# Starts: faces in eight directions around the picture's vertical, level and bent down.
_TURNS = tuple(math.radians(angle) for angle in range(0, 360, 45))
_BENDS = tuple(math.radians(angle) for angle in (0, -40))
# Log-size of a head is 0 +- 0.12 (children and depth that is off), and nearly one value over a clip.
_SIZE_ERROR, _SIZE_ERROR_IN_CLIP = 0.12, 0.02
_SIZE_ERROR_BY_BODY = 0.06  # where trunk and limbs tell how large the head is


def find_heads(
    evidence: HeadEvidence, by_body: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[HeadFits, HeadEvidence, float]:
    """Fit a head to every frame.

    Args:
        evidence: of F frames, all usable.
        by_body: whether the body's size tells the head's; else it is an adult's, more or less.
        progress: called with (rounds done, all rounds) of the fits. May raise to cancel.

    Returns:
        One fit a frame, the evidence without the faces that were made up, and the head's size against the model's.
    """
    n = len(evidence)
    starts = _starts()
    each = torch.arange(n).repeat_interleave(len(starts))

    def report(before: int) -> Callable[[int], None] | None:
        return progress and (lambda done: progress(before + done, 2 * ROUNDS))

    size = evidence.body_size if by_body else None
    expected, error = (0.0, _SIZE_ERROR) if size is None else (math.log(size), _SIZE_ERROR_BY_BODY)
    fits = fit_heads(evidence[each], starts.repeat(n, 1, 1), _places(evidence)[each], expected, error, report(0))
    costs = fits.costs.view(n, len(starts))
    best = fits[torch.arange(n) * len(starts) + costs.argmin(dim=1)]
    evidence = evidence.with_faces(faces_seen(best, evidence))
    log_size = _log_size(best, evidence, expected, error)
    held = evidence.torso.held
    made_up = (~evidence.trusted & held.isfinite().all(dim=(1, 2)))[:, None, None]
    start = torch.where(made_up, held, best.rotations)
    fits = fit_heads(evidence, start, best.positions, log_size, _SIZE_ERROR_IN_CLIP, report(ROUNDS))
    return fits, evidence, math.exp(log_size)


def _starts() -> Tensor:
    """Return upright heads in all directions [S, 3, 3]."""
    turns = vectors_to_matrices(torch.tensor([[0.0, turn, 0.0] for turn in _TURNS], dtype=torch.float64))
    bends = vectors_to_matrices(torch.tensor([[bend, 0.0, 0.0] for bend in _BENDS], dtype=torch.float64))
    return (turns[:, None] @ bends[None]).flatten(0, 1)


def _places(evidence: HeadEvidence) -> Tensor:
    """Return a first guess of the place of every frame's head [F, 3]: on the mean ray, or above the neck."""
    ray = (evidence.rays * evidence.weights[..., None]).sum(dim=1)
    on_ray = ray / ray[:, 2:].clamp_min(1e-6) * evidence.distance[:, None]
    above_neck = evidence.torso.neck - 0.2 * evidence.down
    return torch.where((evidence.n_joints > 0)[:, None], on_ray, above_neck).nan_to_num()


def _log_size(fits: HeadFits, evidence: HeadEvidence, expected: float, error: float) -> float:
    """Return the head's log-size over the clip: the weighted median of what the frames that show the face say.

    Each frame's fit was drawn to what is expected of a head; that is taken out of it, and counted once at the end.
    """
    telling = evidence.shows_face & evidence.depths.isfinite().any(dim=1)
    prior = error**-2
    certainty = 1 / torch.linalg.inv(fits.information[telling])[:, 6, 6]
    own = (certainty - prior).clamp_min(1e-3 * prior)
    values = (fits.log_sizes[telling] - expected) * certainty / own
    if not len(values):
        return expected
    order = values.argsort()
    share = own[order].cumsum(0) / own.sum()
    return expected + float(values[order][int((share < 0.5).sum())] * own.sum() / (own.sum() + prior))
