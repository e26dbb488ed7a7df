"""One forward pass of EgoX's training: the noisy ego view beside the clean exo view, and the loss on the ego columns.

The flow from data to noise is a straight line, x(s) = (1 - s) ego + s noise, and the network learns its velocity,
noise - ego. The exo view is clean at every noise level, and all tokens have one timestep, as at inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ...wan.egox.model_input import ego_columns, exo_columns
from ..data.clips import ClipBatch
from .guided_processor import Guidance, install

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

TIMESTEPS = 1000  # at noise level 1


class EgoX(nn.Module):
    """The transformer with what EgoX shows it.

    Args:
        transformer: Wan 2.1 I2V; GGA is put into it in place.
        guidance: how GGA acts; None for a training without.
        masks_last_frame: whether the mask marks the clip's last exo frame too, as the released trainer's does.
    """

    def __init__(
        self, transformer: WanTransformer3DModel, guidance: Guidance | None, *, masks_last_frame: bool = False
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self._masks_last_frame = masks_last_frame
        self._guided = None if guidance is None else install(transformer, guidance)

    def forward(self, clips: ClipBatch, noisy: Tensor, levels: Tensor) -> Tensor:
        """Return the velocity of the ego view.

        Args:
            clips: what the model is shown; the true ego view is not looked at.
            noisy: ego latents at their noise levels [B, 16, T, h, w_ego].
            levels: noise levels [B], from 0 (data) to 1 (noise).

        Returns:
            [B, 16, T, h, w_ego].
        """
        exo = exo_columns(clips.exo, self._masks_last_frame)
        joined = torch.cat([exo, ego_columns(noisy, clips.prior)], dim=-1)  # [B, 36, T, h, w_exo + w_ego]
        if self._guided is not None:
            self._guided.layout, self._guided.directions = clips.layout, clips.directions
        dtype = self.transformer.patch_embedding.weight.dtype
        (velocity,) = self.transformer(
            joined.to(dtype), TIMESTEPS * levels, clips.text.to(dtype), clips.features.to(dtype), return_dict=False
        )
        return velocity[..., exo.shape[-1] :]


def noised(ego: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    """Return ego latents [B, ...] with noise, each at its level [B]."""
    share = levels.view(-1, *[1] * (ego.ndim - 1)).to(ego)
    return (1 - share) * ego + share * noise


def velocity_losses(velocity: Tensor, ego: Tensor, noise: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return each clip's mean squared error of the velocity [B], in float32.

    Args:
        velocity: as predicted [B, 16, T, h, w].
        ego: latent of the true ego view, of the same shape.
        noise: of the same shape.
        weights: how much each cell counts [B, T, h, w]; None if all count alike.
    """
    target = (noise - ego).float()
    errors = mse_loss(velocity.float(), target, reduction="none").mean(dim=1)  # [B, T, h, w]
    if weights is None:
        return errors.flatten(1).mean(dim=1)
    return (weights * errors).flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1)
