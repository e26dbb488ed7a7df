"""Sample a clip with the trainer's own network: ComfyUI's euler with its `simple` schedule and CFG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.clips import ClipBatch
from .egox import EgoX

_LEVELS = 1000  # of flow matching in ComfyUI

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SampleSettings:
    """How clips are sampled.

    Attributes:
        steps: of the sampler.
        shift: of the schedule; EgoX is sampled with 3.
        cfg: guidance; 1 leaves the negative text out.
        seed: of the noise, as KSampler's.
        vae: Wan 2.1's, ComfyUI's file, by which samples become videos; none given: that of [encoders] folder.
    """

    steps: int = 50
    shift: float = 3.0
    cfg: float = 5.0
    seed: int = 0
    vae: Path | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.shift <= 0 or self.cfg < 1:
            raise ValueError(f"Sampling takes steps from 1 up, a shift above 0 and a cfg from 1 up, got {self}.")


def schedule(steps: int, shift: float) -> Tensor:
    """Return ComfyUI's `simple` noise levels [steps + 1], the last one 0."""
    levels = torch.tensor([_LEVELS - int(step * _LEVELS / steps) for step in range(steps)]) / _LEVELS
    return torch.cat([shift * levels / (1 + (shift - 1) * levels), torch.zeros(1)])


@torch.no_grad()
def sample(network: EgoX, clips: ClipBatch, negative: Tensor | None, settings: SampleSettings) -> Tensor:
    """Return the ego latents [B, 16, T, h, w_ego] of clips, in the model's scale.

    Args:
        network: left in the mode, training or evaluation, in which it came.
        clips: whose true ego view is not looked at.
        negative: vectors of the negative text [512, text width]; only needed with a cfg above 1.
        settings: how.

    Raises:
        ValueError: if a cfg above 1 lacks its negative text.
    """
    if settings.cfg != 1 and negative is None:
        raise ValueError("A cfg above 1 takes the negative text, which the cache has: run training cache again.")
    other = clips if negative is None else replace(clips, text=negative.to(clips.text).expand_as(clips.text))
    return euler(
        network,
        lambda x, levels: network(clips, x, levels),
        lambda x, levels: network(other, x, levels),
        clips.ego,
        settings,
    )


@torch.no_grad()
def euler(network: nn.Module, velocity: Velocity, against: Velocity, like: Tensor, settings: SampleSettings) -> Tensor:
    """Return latents that follow a network's velocity from noise to data, in the model's scale.

    Args:
        network: left in the mode, training or evaluation, in which it came.
        velocity: what it makes of latents [B, ...] at noise levels [B].
        against: CFG's null branch; not called with a cfg of 1.
        like: a latent of the shape, type and device of what is sampled.
        settings: how.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    x = torch.randn(like.shape, generator=generator).to(like)
    was_training = network.training
    network.eval()
    try:
        for level, following in pairwise(schedule(settings.steps, settings.shift)):
            levels = level.expand(len(like)).to(x.device)
            step = velocity(x, levels)
            if settings.cfg != 1:
                other = against(x, levels)
                step = other + settings.cfg * (step - other)
            x = x + step.float() * (following - level)
    finally:
        network.train(was_training)
    return x
