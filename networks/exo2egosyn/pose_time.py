"""Time&Pose: the ego camera's poses added to Wan's embedding of the time step, in the way of Exo2Ego-V.

Exo2EgoSyn's paper compares it in table 6: it "fuses information between timesteps and camera poses". Our choices, where
the paper is silent: every latent frame has a pose of its own, that of the last video frame in it (0, 4, 8, ..., as
PoseInj sees frames up to 4 i); the pose is the 3 x 4 upper part of the ego camera's pose relative to exo camera 1
(camera to world, metres), row by row; and the layers are formed as those of Wan's own time embedding:

    e_i = time_embedding(t) + proj_out(silu(proj_in(pose_i)))       zero until trained

Parameters (Linear):

    proj_in.{weight [dim, 12], bias}
    proj_out.{weight [dim, dim], bias}
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

POSE_NUMBERS = 12
# Frames from one latent frame's pose to the next one's.
_STRIDE = 4


class PoseTime(nn.Module):
    """What the poses add to the time embedding: 26,286,080 parameters at Wan's width.

    Args:
        dim: width of Wan's tokens.
        operations: where the layers come from: torch.nn or ComfyUI's operations.
        device: where the parameters lie.
        dtype: their type.
    """

    def __init__(self, dim: int, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.proj_in = operations.Linear(POSE_NUMBERS, dim, **factory)
        self.proj_out = operations.Linear(dim, dim, **factory)
        for parameter in self.proj_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, poses: Tensor) -> Tensor:
        """Embed the poses of a clip.

        Args:
            poses: [T, 4, 4] of all T = 4 n + 1 frames, ego camera to exo camera 1.

        Returns:
            [n + 1, dim], one for each latent frame.

        Raises:
            ValueError: if the shape does not fit.
        """
        if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) % _STRIDE != 1:
            raise ValueError(f"Poses are expected as [4 n + 1, 4, 4], got the shape {list(poses.shape)}.")
        return self.proj_out(silu(self.proj_in(poses[::_STRIDE, :3].flatten(1))))
