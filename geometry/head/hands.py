"""Turn heads towards what their hands do, as far as hands are trusted more than faces."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..body.guides import Guide
from ..cameras.rotations import matrices_to_vectors, shortest_turns, vectors_to_matrices

# Looks go down from where the face points: 18 to 25 degrees to what hands hold, measured on glasses of Ego-Exo4D
# (tests/geometry/head/test_real_take.py).
GAZE_BELOW_FACE = 20.0
# Detectors mark every head alike a little wrong over a whole clip, which no fit sees.
_FACE_BIAS = math.radians(8)
# Hands further from the look than so many standard deviations count less: somebody looks elsewhere.
_CAUCHY = 2.0


def towards_hands(rotations: Tensor, errors: Tensor, hands: Guide) -> tuple[Tensor, Tensor]:
    """Turn heads by the shortest way, so that looks come nearer to the hands.

    Args:
        rotations: the head's axes [F, 3, 3].
        errors: standard deviations of where they face [F], radians.
        hands: where hands work, in the same axes as the rotations are to.

    Returns:
        Rotations, and errors with the hands' word in them.
    """
    bend = math.radians(GAZE_BELOW_FACE)
    looks = rotations @ rotations.new_tensor([0.0, math.sin(bend), math.cos(bend)])
    apart = (looks * hands.directions).sum(dim=-1).clamp(-1, 1).acos()
    face = errors.square() + _FACE_BIAS**2
    spread = hands.errors.square() + face
    weights = 1 / (1 + (apart.square() / spread) / _CAUCHY**2) / hands.errors.square()  # 0 without hands
    share = weights / (weights + 1 / face)
    whole = matrices_to_vectors(shortest_turns(looks, torch.where(weights[:, None] > 0, hands.directions, looks)))
    turned = vectors_to_matrices(share[:, None] * whole) @ rotations
    return turned, (1 / (1 / errors.square() + weights)).sqrt()
