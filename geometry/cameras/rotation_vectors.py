"""Rotations as vectors (axis times angle in radians), and as quaternions that are multiplied."""

from __future__ import annotations

import torch
from torch import Tensor

from .rotations import matrices_to_quaternions, quaternions_to_matrices

_SMALL_ANGLE = 1e-8


def vectors_to_quaternions(vectors: Tensor) -> Tensor:
    """Return the unit quaternions [..., 4] (w, x, y, z) of rotation vectors [..., 3]."""
    angle = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    share = torch.where(angle < _SMALL_ANGLE, 0.5, torch.sin(angle / 2) / angle.clamp_min(_SMALL_ANGLE))
    return torch.cat([torch.cos(angle / 2), share * vectors], dim=-1)


def quaternions_to_vectors(quaternions: Tensor) -> Tensor:
    """Return the rotation vectors [..., 3], at most pi long, of unit quaternions [..., 4]."""
    quaternions = torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    sine = torch.linalg.vector_norm(quaternions[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * torch.where(sine < _SMALL_ANGLE, 2.0, angle / sine.clamp_min(_SMALL_ANGLE))


def vectors_to_matrices(vectors: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] of rotation vectors [..., 3]."""
    return quaternions_to_matrices(vectors_to_quaternions(vectors))


def matrices_to_vectors(matrices: Tensor) -> Tensor:
    """Return the rotation vectors [..., 3] of rotation matrices [..., 3, 3]."""
    return quaternions_to_vectors(matrices_to_quaternions(matrices))


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Return the quaternions [..., 4] of turning by `second`, then by `first`."""
    (w, *vector), (v, *other) = first.unbind(-1), second.unbind(-1)
    (x, y, z), (a, b, c) = vector, other
    return torch.stack(
        [
            w * v - x * a - y * b - z * c,
            w * a + x * v + y * c - z * b,
            w * b - x * c + y * v + z * a,
            w * c + x * b - y * a + z * v,
        ],
        dim=-1,
    )


def inverse(quaternions: Tensor) -> Tensor:
    """Return the opposite turns [..., 4] of unit quaternions."""
    return quaternions * quaternions.new_tensor([1, -1, -1, -1])


def cross_matrices(vectors: Tensor) -> Tensor:
    """Return the matrices [..., 3, 3] that multiply by the cross product with vectors [..., 3]."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def shortest_turns(start: Tensor, end: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] that turn unit vectors [..., 3] into others by the shortest way.

    Opposite vectors have no shortest way; there the result is anything.
    """
    between = torch.nn.functional.normalize(start + end, dim=-1)  # the turn is twice the one from start to here
    quaternion = torch.cat([(start * between).sum(-1, keepdim=True), torch.linalg.cross(start, between)], dim=-1)
    return quaternions_to_matrices(quaternion)
