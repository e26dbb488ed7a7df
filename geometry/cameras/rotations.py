"""Rotations as matrices, unit quaternions (w, x, y, z) and vectors (axis times angle in radians), and rigid poses.

Most 3D programs have y up and a camera that looks along its own -z, x to the right. Their world and ours, and their
camera and ours, differ by half a turn about x: (x, y, z) -> (x, -y, -z).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this angle in radians, sin(angle) loses digits and a straight line is the arc.
_SMALL_ANGLE = 1e-6
# Below this length of a rotation vector, or of half of one, the limit of sin(x) / x stands for it.
_SMALL_VECTOR = 1e-8
# Below this sine of the angle between a line of sight and the vertical, the camera looks straight up or down.
_STEEP = 1e-6

HALF_TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return the matrices [..., 4, 4] of rotations [..., 3, 3] followed by translations [..., 3]."""
    matrices = torch.eye(4, dtype=rotation.dtype, device=rotation.device).repeat(*rotation.shape[:-2], 1, 1)
    matrices[..., :3, :3] = rotation
    matrices[..., :3, 3] = translation
    return matrices


def look_at(eyes: Tensor, targets: Tensor) -> Tensor:
    """Return the camera-to-world rotations [..., 3, 3] of upright cameras at `eyes` that look at `targets` [..., 3].

    Axes are ours: y down. Straight up or down, x stays the world's.
    """
    forward = torch.nn.functional.normalize(targets - eyes, dim=-1)
    down = forward.new_tensor([0, 1, 0]).expand_as(forward)
    right = torch.linalg.cross(down, forward)
    steep = torch.linalg.vector_norm(right, dim=-1, keepdim=True) < _STEEP
    right = torch.nn.functional.normalize(torch.where(steep, forward.new_tensor([1, 0, 0]), right), dim=-1)
    return torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-1)


def y_up_swapped(camera_to_world: Tensor) -> Tensor:
    """Bring camera-to-world matrices [..., 4, 4] from our axes to y up, or back: it is its own inverse."""
    return HALF_TURN @ camera_to_world @ HALF_TURN


def quaternions_to_matrices(quaternions: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] of unit quaternions [..., 4]."""
    w, x, y, z = quaternions.unbind(-1)
    entries = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def matrices_to_quaternions(matrices: Tensor) -> Tensor:
    """Return the unit quaternions [..., 4], w >= 0, of rotation matrices [..., 3, 3].

    A quaternion q of the matrix R is the eigenvector of the largest eigenvalue of a symmetric 4 x 4 matrix made of
    R's entries (Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", 2000). It has no
    special cases, and for a rounded matrix gives the rotation nearest to it.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in matrices.unbind(-2))
    rows = [
        torch.stack([xx + yy + zz, zy - yz, xz - zx, yx - xy], dim=-1),
        torch.stack([zy - yz, xx - yy - zz, yx + xy, zx + xz], dim=-1),
        torch.stack([xz - zx, yx + xy, yy - xx - zz, zy + yz], dim=-1),
        torch.stack([yx - xy, zx + xz, zy + yz, zz - xx - yy], dim=-1),
    ]
    quaternions = torch.linalg.eigh(torch.stack(rows, dim=-2)).eigenvectors[..., -1]  # [..., 4]
    return torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Turn evenly from one rotation to another, along the shorter arc (Shoemake, 1985).

    Args:
        start: unit quaternions [..., 4].
        end: unit quaternions [..., 4].
        share: of the way [...]; 0 gives `start`, 1 gives `end` (or its negative, the same rotation).

    Returns:
        Unit quaternions [..., 4].
    """
    cosine = (start * end).sum(dim=-1, keepdim=True)
    end = torch.where(cosine < 0, -end, end)
    angle = torch.acos(cosine.abs().clamp_max(1))  # [..., 1], between the quaternions: half the rotation's
    share = share[..., None]
    safe = angle.clamp_min(_SMALL_ANGLE)
    arc = (torch.sin((1 - share) * safe) * start + torch.sin(share * safe) * end) / torch.sin(safe)
    line = (1 - share) * start + share * end
    return torch.nn.functional.normalize(torch.where(angle < _SMALL_ANGLE, line, arc), dim=-1)


def vectors_to_quaternions(vectors: Tensor) -> Tensor:
    """Return the unit quaternions [..., 4] (w, x, y, z) of rotation vectors [..., 3]."""
    angle = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    share = torch.where(angle < _SMALL_VECTOR, 0.5, torch.sin(angle / 2) / angle.clamp_min(_SMALL_VECTOR))
    return torch.cat([torch.cos(angle / 2), share * vectors], dim=-1)


def quaternions_to_vectors(quaternions: Tensor) -> Tensor:
    """Return the rotation vectors [..., 3], at most pi long, of unit quaternions [..., 4]."""
    quaternions = torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    sine = torch.linalg.vector_norm(quaternions[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * torch.where(sine < _SMALL_VECTOR, 2.0, angle / sine.clamp_min(_SMALL_VECTOR))


def hermite_turns(start: Tensor, end: Tensor, leaving: Tensor, arriving: Tensor, share: Tensor) -> Tensor:
    """Turn smoothly from one rotation to another, with given speeds at both ends.

    The Hermite quaternion curve of Kim, Kim and Shin ("A general construction scheme for unit quaternion curves with
    simple high order derivatives", SIGGRAPH 1995). Where both speeds are those of the even turn it is `slerp`.

    Args:
        start: unit quaternions [..., 4].
        end: unit quaternions [..., 4].
        leaving: speeds at `start` [..., 3]: rotation vectors a unit of `share`, about the axes at `start`.
        arriving: likewise at `end`.
        share: of the way [...]; 0 gives `start`, 1 gives `end` (or its negative, the same rotation).

    Returns:
        Unit quaternions [..., 4].
    """
    first, last = leaving / 3, arriving / 3
    inner = multiply(start, vectors_to_quaternions(first)), multiply(end, inverse(vectors_to_quaternions(last)))
    middle = quaternions_to_vectors(multiply(inverse(inner[0]), inner[1]))
    share = share[..., None]
    turned = start
    shares = (1 - (1 - share) ** 3, share * share * (3 - 2 * share), share**3)
    for vector, part in zip((first, middle, last), shares):
        turned = multiply(turned, vectors_to_quaternions(part * vector))
    return torch.nn.functional.normalize(turned, dim=-1)


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
