"""What EgoX's transformer sees: exo view and ego view side by side, in the 36 channels of Wan 2.1 I2V (paper, Eq. 3).

    channels   exo columns                           ego columns
    16 latent  clean exo latent                      noisy ego latent
     4 mask    1 on the first latent frame, else 0   0
    16 cond    clean exo latent                      ego prior

The four mask channels are the four video frames of a latent frame (the clip's first frame fills all four of its own).
The released trainer also leaves the clip's last frame at 1: channel 3 of the last latent frame.

Latents are in the model's scale. Imports no ComfyUI: the trainer makes the same input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.wan_grid import MASK_CHANNELS


def exo_columns(exo: Tensor, masks_last_frame: bool) -> Tensor:
    """Return the exo columns [N, 36, T, h, w_exo] of exo latents [N, 16, T, h, w_exo].

    Args:
        exo: clean latents.
        masks_last_frame: whether the clip's last frame is marked as given, too.
    """
    mask = torch.zeros_like(exo[:, :MASK_CHANNELS])
    mask[:, :, 0] = 1.0
    if masks_last_frame:
        mask[:, -1, -1] = 1.0
    return torch.cat([exo, mask, exo], dim=1)


def ego_columns(noisy: Tensor, prior: Tensor) -> Tensor:
    """Return the ego columns [N, 36, T, h, w_ego] of a noisy latent and the ego prior's, both [N, 16, T, h, w_ego]."""
    return torch.cat([noisy, torch.zeros_like(noisy[:, :MASK_CHANNELS]), prior], dim=1)
