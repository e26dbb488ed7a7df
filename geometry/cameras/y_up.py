"""Between our axes and those of most 3D programs: y up, the camera looking along its own -z, x to the right.

Both worlds and both cameras differ by half a turn about x: (x, y, z) -> (x, -y, -z).
"""

from __future__ import annotations

import torch
from torch import Tensor

HALF_TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def y_up_swapped(camera_to_world: Tensor) -> Tensor:
    """Bring camera-to-world matrices [..., 4, 4] from our axes to y up, or back: it is its own inverse."""
    return HALF_TURN @ camera_to_world @ HALF_TURN
