"""Fit the head model to one frame's evidence, many frames and starts at once.

Damped least squares (Levenberg-Marquardt) with Cauchy weights over seven unknowns: a turn, a place, and the logarithm
of the head's size. Rays to nose, eyes and ears say how the head is turned; their depth says how far it is. Where they
are few, what the trunk allows decides. Everything is in the exo camera's axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cameras.rotations import cross_matrices, matrices_to_vectors, vectors_to_matrices
from .evidence import HeadEvidence
from .model import EYES_FROM_NECK, HEAD_POINTS

ROUNDS = 25
_CAUCHY = 2.5  # standard deviations from which a joint counts less
# A joint may lie behind the surface that hides it: then the depth says little.
_HIDDEN = 3.0
_ROTATION_ERROR = math.radians(5)  # of axes that an estimator gave
# Where the face shows, the trunk breaks ties and no more: a mean posture would bend every turn of the head towards it.
# Factor of the trunk's deviations by the number of the head's joints, 0 to 5.
_FACE_OVER_TRUNK = (1.0, 1.0, 1.0, 1.5, 3.0, 3.0)
_EYES_FROM_NECK_ERROR = 0.07  # metres
_DISTANCE_ERROR = 0.3  # metres by which a head may lie before or behind the body's depth
_LEVEL_ERROR = 0.17  # sine of the angle by which the line through the eyes is off level
_UPRIGHT_ERROR = 0.6  # of 1 - cosine between the head's and the scene's downward directions


@dataclass(frozen=True, eq=False)
class HeadFits:
    """B fits.

    Attributes:
        rotations: from the head's axes [B, 3, 3].
        positions: the point between the eyes [B, 3], metres.
        log_sizes: logarithm of the head's size against the model's [B].
        costs: what is left, as a negative log-likelihood [B].
        information: inverse covariance of turn (about the camera's axes), place and log-size [B, 7, 7].
    """

    rotations: Tensor
    positions: Tensor
    log_sizes: Tensor
    costs: Tensor
    information: Tensor

    def __getitem__(self, chosen: Tensor) -> HeadFits:
        parts = (self.rotations, self.positions, self.log_sizes, self.costs, self.information)
        return HeadFits(*(part[chosen] for part in parts))

    def direction_errors(self) -> Tensor:
        """Return the standard deviation of the viewing direction [B], radians, per axis across it."""
        covariance = torch.linalg.inv(self.information)[:, :3, :3]
        in_head = self.rotations.mT @ covariance @ self.rotations
        return ((in_head[:, 0, 0] + in_head[:, 1, 1]) / 2).clamp_min(0).sqrt()


def fit_heads(
    evidence: HeadEvidence,
    rotations: Tensor,
    positions: Tensor,
    log_size: float,
    size_error: float,
    progress: Callable[[int], None] | None = None,
) -> HeadFits:
    """Fit a head to each of B pieces of evidence.

    Args:
        evidence: B of them.
        rotations: where to start [B, 3, 3].
        positions: likewise [B, 3].
        log_size: expected logarithm of the head's size.
        size_error: its standard deviation.
        progress: called with the rounds done, of `ROUNDS`.
    """
    log_sizes = torch.full((len(evidence),), log_size, dtype=torch.float64)
    state = (rotations, positions, log_sizes)

    def measure(state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        parts = [
            _rays(evidence, *state),
            _depths(evidence, *state),
            _given_rotation(evidence, state[0]),
            _over_the_torso(evidence, state[0]),
            _over_the_neck(evidence, state[0], state[1]),
            _upright(evidence, state[0]),
            _far_as_the_body(evidence, state[1]),
            _size(state[2], log_size, size_error),
        ]
        costs = sum(part[0] for part in parts)
        return costs, sum(part[1] for part in parts), sum(part[2] for part in parts)

    costs, gradient, information = measure(state)
    damping = torch.full_like(costs, 1e-2)
    for done in range(1, ROUNDS + 1):
        scale = torch.diagonal(information, dim1=1, dim2=2) + 1e-9
        step = -torch.linalg.solve(information + torch.diag_embed(damping[:, None] * scale), gradient)
        tried = _moved(state, step)
        found = measure(tried)
        better = found[0] < costs
        state = tuple(_chosen(better, new, old) for new, old in zip(tried, state))
        costs, gradient, information = (
            _chosen(better, new, old) for new, old in zip(found, (costs, gradient, information))
        )
        damping = torch.where(better, damping / 4, damping * 5).clamp(1e-7, 1e7)
        if progress is not None:
            progress(done)
    return HeadFits(*state, costs, information)


Term = tuple[Tensor, Tensor, Tensor]  # cost [B], gradient [B, 7], information [B, 7, 7]


def _rays(evidence: HeadEvidence, rotations: Tensor, positions: Tensor, log_sizes: Tensor) -> Term:
    """How far the joints lie beside their rays."""
    points, slopes = _points(evidence.points, rotations, positions, log_sizes)  # [B, J, 3], [B, J, 3, 7]
    along = (points * evidence.rays).sum(dim=-1).clamp_min(0.05)  # [B, J]
    across = points / along[..., None] - evidence.rays  # tangential, as the rays are units
    flat = torch.eye(3, dtype=torch.float64) - evidence.rays[..., :, None] * evidence.rays[..., None, :]
    jacobian = (flat - across[..., :, None] * evidence.rays[..., None, :]) / along[..., None, None] @ slopes
    scale = 1 / evidence.angle_errors[..., None]
    return _robust(across * scale, jacobian * scale[..., None], evidence.weights)


def _depths(evidence: HeadEvidence, rotations: Tensor, positions: Tensor, log_sizes: Tensor) -> Term:
    """How far the joints lie before or behind the surface."""
    points, slopes = _points(evidence.points, rotations, positions, log_sizes)
    behind = points[..., 2] - evidence.depths  # [B, J], NaN where the depth is unknown
    errors = torch.where(behind > 0, _HIDDEN * evidence.depth_errors, evidence.depth_errors)
    known = behind.isfinite()
    residual = (behind / errors).where(known, 0.0)[..., None]
    jacobian = (slopes[..., 2:, :] / errors[..., None, None]).where(known[..., None, None], 0.0)
    return _robust(residual, jacobian, evidence.weights)


def _given_rotation(evidence: HeadEvidence, rotations: Tensor) -> Term:
    return _turned(rotations, evidence.rotations, rotations.new_tensor(_ROTATION_ERROR).expand(len(rotations), 3))


def _over_the_torso(evidence: HeadEvidence, rotations: Tensor) -> Term:
    joints = torch.where(evidence.has_rotation, len(HEAD_POINTS), evidence.n_joints * evidence.trusted)
    looser = rotations.new_tensor(_FACE_OVER_TRUNK)[joints]
    return _turned(rotations, evidence.torso.held, evidence.torso.held_errors * looser[:, None])


def _over_the_neck(evidence: HeadEvidence, rotations: Tensor, positions: Tensor) -> Term:
    """How far the eyes are from where they belong over the neck, by the trunk's axes."""
    torso = evidence.torso.leaning
    known = torso.isfinite().all(dim=(1, 2)) & evidence.torso.neck.isfinite().all(dim=1)
    held = torso.where(known[:, None, None], rotations)
    expected = evidence.torso.neck + evidence.sizes.nan_to_num(1.0)[:, None] * (held @ EYES_FROM_NECK)
    residual = ((positions - expected) / _EYES_FROM_NECK_ERROR).where(known[:, None], 0.0)
    jacobian = torch.zeros(len(positions), 3, 7, dtype=torch.float64)
    jacobian[:, :, 3:6] = torch.eye(3, dtype=torch.float64) / _EYES_FROM_NECK_ERROR
    return _robust(residual[:, None], jacobian[:, None], known[:, None].to(torch.float64))


def _upright(evidence: HeadEvidence, rotations: Tensor) -> Term:
    """How far the line through the eyes is from level, and the head from upright."""
    across, down = (rotations[:, :, 0] * evidence.down).sum(-1), (rotations[:, :, 1] * evidence.down).sum(-1)  # [B]
    residual = torch.stack([across / _LEVEL_ERROR, (1 - down) / _UPRIGHT_ERROR], dim=-1)
    jacobian = torch.zeros(len(rotations), 2, 7, dtype=torch.float64)
    jacobian[:, 0, :3] = torch.linalg.cross(rotations[:, :, 0], evidence.down) / _LEVEL_ERROR
    jacobian[:, 1, :3] = -torch.linalg.cross(rotations[:, :, 1], evidence.down) / _UPRIGHT_ERROR
    return _squares(residual, jacobian)


def _far_as_the_body(evidence: HeadEvidence, positions: Tensor) -> Term:
    """How far the head is before or behind the body; it decides where no joint of the head has a depth."""
    jacobian = torch.zeros(len(positions), 1, 7, dtype=torch.float64)
    jacobian[..., 5] = 1 / _DISTANCE_ERROR
    return _squares((positions[:, 2:] - evidence.distance[:, None]) / _DISTANCE_ERROR, jacobian)


def _size(log_sizes: Tensor, expected: float, error: float) -> Term:
    jacobian = torch.zeros(len(log_sizes), 1, 7, dtype=torch.float64)
    jacobian[..., 6] = 1 / error
    return _squares(((log_sizes - expected) / error)[:, None], jacobian)


def _points(model: Tensor, rotations: Tensor, positions: Tensor, log_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return a model's points [B, J, 3] and their derivatives by turn, place and log-size [B, J, 3, 7]."""
    arms = log_sizes.exp()[:, None, None] * (model @ rotations.mT)  # [B, J, 3]
    identity = torch.eye(3, dtype=torch.float64).expand(*arms.shape[:2], 3, 3)
    return positions[:, None] + arms, torch.cat([-cross_matrices(arms), identity, arms[..., None]], dim=-1)


def _turned(rotations: Tensor, expected: Tensor, errors: Tensor) -> Term:
    """How far heads are turned from the expected [B, 3, 3], about its axes, over errors [B, 3]; NaN expects nothing."""
    known = expected.isfinite().all(dim=(1, 2))
    reference = expected.where(known[:, None, None], rotations)
    residual = matrices_to_vectors(reference.mT @ rotations) / errors
    jacobian = torch.zeros(len(rotations), 3, 7, dtype=torch.float64)
    jacobian[:, :, :3] = (reference.mT / errors[..., None]).where(known[:, None, None], 0.0)
    return _squares(residual, jacobian)


def _robust(residual: Tensor, jacobian: Tensor, weights: Tensor) -> Term:
    """Sum groups of residuals [B, G, R] with derivatives [B, G, R, 7], under Cauchy's weights and given ones [B, G]."""
    squares = residual.square().sum(dim=-1)  # [B, G]
    costs = weights * 0.5 * _CAUCHY**2 * torch.log1p(squares / _CAUCHY**2)
    root = (weights / (1 + squares / _CAUCHY**2)).sqrt()[..., None]
    _, gradient, information = _squares((root * residual).flatten(1), (root[..., None] * jacobian).flatten(1, 2))
    return costs.sum(dim=1), gradient, information


def _squares(residual: Tensor, jacobian: Tensor) -> Term:
    """Sum squares of residuals [B, R] with derivatives [B, R, 7]."""
    gradient = (jacobian.mT @ residual[..., None])[..., 0]
    return 0.5 * residual.square().sum(dim=1), gradient, jacobian.mT @ jacobian


def _moved(state: tuple[Tensor, Tensor, Tensor], step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rotations, positions, log_sizes = state
    return vectors_to_matrices(step[:, :3]) @ rotations, positions + step[:, 3:6], log_sizes + step[:, 6]


def _chosen(which: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(which.view(-1, *(1,) * (new.ndim - 1)), new, old)
