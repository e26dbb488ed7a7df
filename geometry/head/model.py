"""The measures of a head: where nose, eyes and ears lie about the point between the eyes.

Axes as a camera between the eyes has them: x to the person's right, y down, z ahead. The axis ahead is horizontal when
the head is upright (the Frankfurt plane: lower rim of the eye socket and ear canal at one height).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .keypoints import HEAD_JOINTS, Joint

# Metres, rounded means of adults: 63 mm between the pupils, 146 mm from ear to ear, ears 20 mm below the pupils and
# 97 mm behind them (the middle of the ear, which estimators mark), tip of the nose 42 mm below and 30 mm before them.
_POINTS = {
    Joint.NOSE: (0.0, 0.042, 0.030),
    Joint.LEFT_EYE: (-0.0315, 0.0, 0.0),
    Joint.RIGHT_EYE: (0.0315, 0.0, 0.0),
    Joint.LEFT_EAR: (-0.073, 0.020, -0.097),
    Joint.RIGHT_EAR: (0.073, 0.020, -0.097),
}
HEAD_POINTS = torch.tensor([_POINTS[joint] for joint in HEAD_JOINTS], dtype=torch.float64)  # [5, 3]

# From the middle between the shoulder joints to the point between the eyes, in the torso's axes (x right, y down,
# z ahead), metres: a person who stands upright and looks ahead.
EYES_FROM_NECK = torch.tensor([0.0, -0.23, 0.09], dtype=torch.float64)


def head_axes(points: Tensor) -> Tensor:
    """Return the rotations [N, 3, 3] from the head's axes that bring the model nearest to points, whatever its size.

    Args:
        points: of `HEAD_JOINTS` [N, 5, 3], in right-handed axes and any unit.

    Kabsch's method: the rotation of the singular value decomposition of the points' covariance with the model's.
    """
    model = HEAD_POINTS - HEAD_POINTS.mean(dim=0)
    centred = points - points.mean(dim=1, keepdim=True)
    left, _, right = torch.linalg.svd(centred.mT @ model)
    flip = torch.ones(len(points), 3, dtype=points.dtype)
    flip[:, 2] = torch.linalg.det(left @ right).sign()
    return left @ (flip[..., None] * right)
