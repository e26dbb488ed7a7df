"""What the pocket model is shown of a clip: all of it, or, to see what a part brings, all but that part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...common.wan_grid import VAE_STRIDE, video_frames
from ..data.clips import ClipBatch
from ..network.egox import noised, velocity_losses
from ..network.egox_method import EgoXMethod
from ..noise import Draws
from ..recipe import Recipe
from .encode_rooms import LatentScale
from .vae import encode

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan


class Shown(Enum):
    """How much of a clip the model is shown."""

    WHOLE = "whole"
    NO_PRIOR = "no prior"
    NOISY_EXO = "noisy exo"


@torch.no_grad()
def black_prior(vae: AutoencoderKLWan, scale: LatentScale, like: Tensor) -> Tensor:
    """The latent of an ego prior that shows nothing, of the shape, type and device of `like` [B, 16, T, h, w]."""
    batch, _, frames, height, width = like.shape
    black = torch.full((1, 3, video_frames(frames), VAE_STRIDE * height, VAE_STRIDE * width), -1.0)
    latent = encode(vae, black.to(next(vae.parameters())))
    return scale.unit(latent.cpu()).to(like).expand(batch, -1, -1, -1, -1)


def show(clips: ClipBatch, shown: Shown, levels: Tensor, black: Tensor | None, noise: Tensor | None) -> ClipBatch:
    """Return clips as the model is shown them.

    Args:
        clips: whole.
        shown: how much of them.
        levels: noise levels [B] of the ego view.
        black: of `black_prior`, needed without a prior.
        noise: what a noisy exo view gets, at the ego view's level, of the exo latents' shape; needed for it alone.
    """
    if shown is Shown.NO_PRIOR:
        assert black is not None
        return replace(clips, prior=black)
    if shown is Shown.NOISY_EXO:
        assert noise is not None
        return replace(clips, exo=noised(clips.exo, noise, levels))
    return clips


class ShownMethod(EgoXMethod):
    """EgoX, trained on what it is shown of its clips.

    Args:
        recipe: all settings.
        shown: how much.
        black: makes the prior that shows nothing, of the shape of a clip's [1, 16, T, h, w]; needed without a prior.
    """

    def __init__(
        self, recipe: Recipe, shown: Shown = Shown.WHOLE, black: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__(recipe)
        self._shown, self._make_black = shown, black
        self._black: dict[tuple[int, ...], Tensor] = {}

    def shows(self, clips: ClipBatch, levels: Tensor, chances: Sequence[float]) -> ClipBatch:
        """Return clips as they are shown; the exo view's noise follows from numbers from 0 to 1, one of each clip."""
        black = noise = None
        if self._shown is Shown.NO_PRIOR:
            size = tuple(clips.prior.shape[2:])
            if size not in self._black:
                assert self._make_black is not None
                self._black[size] = self._make_black(clips.prior[:1])
            black = self._black[size].expand_as(clips.prior)
        elif self._shown is Shown.NOISY_EXO:
            seeds = [int(2**31 * chance) for chance in chances]
            drawn = [torch.randn(clips.exo.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            noise = torch.stack(drawn).to(clips.exo)
        return show(clips, self._shown, levels, black, noise)

    def losses(self, network: nn.Module, clips: ClipBatch, draws: Draws) -> Tensor:
        """Return each clip's mean squared error of the velocity [B], by its cells' weights."""
        seen = self.shows(clips, draws.levels, draws.chances.tolist())
        velocity = network(seen, noised(clips.ego, draws.noise, draws.levels), draws.levels)
        return velocity_losses(velocity, clips.ego, draws.noise, clips.weights)
