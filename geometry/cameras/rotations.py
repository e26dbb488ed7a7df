"""Unit quaternions (w, x, y, z) for rotations: to and from matrices, and the way between two of them."""

from __future__ import annotations

import torch
from torch import Tensor

# Below this angle in radians, sin(angle) loses digits and a straight line is the arc.
_SMALL_ANGLE = 1e-6


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
