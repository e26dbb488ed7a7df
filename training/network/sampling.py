"""Sample a clip with the trainer's own network: ComfyUI's euler with its `simple` schedule and CFG."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ..data.clips import ClipBatch
from .egox import EgoX

_LEVELS = 1000  # of flow matching in ComfyUI


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
    against = None
    if settings.cfg != 1:
        if negative is None:
            raise ValueError("A cfg above 1 takes the negative text, which the cache has: run training cache again.")
        against = replace(clips, text=negative.to(clips.text).expand_as(clips.text))
    generator = torch.Generator().manual_seed(settings.seed)
    x = torch.randn(clips.ego.shape, generator=generator).to(clips.ego)
    was_training = network.training
    network.eval()
    try:
        for level, following in pairwise(schedule(settings.steps, settings.shift)):
            levels = level.expand(len(clips)).to(x.device)
            velocity = network(clips, x, levels)
            if against is not None:
                other = network(against, x, levels)
                velocity = other + settings.cfg * (velocity - other)
            x = x + velocity.float() * (following - level)
    finally:
        network.train(was_training)
    return x
