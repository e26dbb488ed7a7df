"""A clip of a recipe's sizes that holds zeros: what the memory of a step is measured with."""

from __future__ import annotations

import torch

from ...common.wan_grid import LATENT_CHANNELS, PATCH, PLUCKER_CHANNELS, VAE_STRIDE, latent_frames
from ...wan.egox.prompt import TEXT_TOKENS
from ..data.clips import TrainingClip, ViewsClip
from ..network.transformer import WanSize
from ..recipe import Recipe

_CLIP_TOKENS = 257


def blank_clip(recipe: Recipe, size: WanSize | None) -> TrainingClip | ViewsClip:
    """Return a clip of a recipe's sizes, all zeros; `size` has the widths of text and CLIP features."""
    data, size = recipe.data, size or WanSize()
    frames = latent_frames(data.frames)
    (exo_width, height), (ego_width, ego_height) = (
        (side[0] // VAE_STRIDE, side[1] // VAE_STRIDE) for side in (data.exo_size, data.ego_size)
    )
    if recipe.clip_kind == TrainingClip.kind:
        exo, ego = (torch.zeros(LATENT_CHANNELS, frames, height, width) for width in (exo_width, ego_width))
        rows, exo_columns, ego_columns = height // PATCH, exo_width // PATCH, ego_width // PATCH
        return TrainingClip(
            exo,
            ego,
            ego,
            torch.zeros(TEXT_TOKENS, size.text),
            torch.zeros(_CLIP_TOKENS, size.image),
            torch.zeros(frames, rows, ego_columns, 3),
            torch.zeros(frames, frames, rows, exo_columns, 3),
        )
    views, ego = recipe.exo2egosyn.views, torch.zeros(LATENT_CHANNELS, frames, ego_height, ego_width)
    return ViewsClip(
        exo=torch.zeros(views, LATENT_CHANNELS, frames, height, exo_width),
        ego=ego,
        gray=ego,
        first_then_gray=ego,
        plucker=torch.zeros(data.frames, PLUCKER_CHANNELS, data.ego_size[1], data.ego_size[0]),
        align_plucker=torch.zeros(views, PLUCKER_CHANNELS, height, exo_width),
        poses=torch.zeros(data.frames, 4, 4),
        text=torch.zeros(TEXT_TOKENS, size.text),
    )
