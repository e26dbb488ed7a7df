"""Noise and noise levels of every training step.

All of it follows from the seed, the step and the clip's place in the step's batch, so that nothing has to be saved: a
run that was killed, or one over more processes, meets the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DISTRIBUTIONS = ("uniform", "logit normal")


@dataclass(frozen=True)
class LevelSettings:
    """How noise levels are drawn.

    Attributes:
        distribution: of the level before the shift, "uniform" or "logit normal".
        mean, deviation: of the logit normal distribution's logit.
        shift: as a sampler's: s becomes shift s / (1 + (shift - 1) s). EgoX was trained with 1.
        lowest, highest: the level, shifted, is brought into this range as a straight line.

    Raises:
        ValueError: if a value is out of range.
    """

    distribution: str = "uniform"
    mean: float = 0.0
    deviation: float = 1.0
    shift: float = 1.0
    lowest: float = 0.0
    highest: float = 1.0

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"Noise levels are drawn from {' or '.join(DISTRIBUTIONS)}, got {self.distribution!r}.")
        if self.shift <= 0 or self.deviation <= 0:
            raise ValueError(f"Shift and deviation are above 0, got {self.shift} and {self.deviation}.")
        if not 0 <= self.lowest < self.highest <= 1:
            raise ValueError(
                f"Noise levels lie from 0 to 1, lowest below highest, got {self.lowest} and {self.highest}."
            )

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return one level, []."""
        if self.distribution == "uniform":
            level = torch.rand((), generator=generator)
        else:
            level = (self.mean + self.deviation * torch.randn((), generator=generator)).sigmoid()
        shifted = self.shift * level / (1 + (self.shift - 1) * level)
        return self.lowest + (self.highest - self.lowest) * shifted


def generator_of(seed: int, *place: int) -> torch.Generator:
    """Return a generator on the CPU that follows from a seed and numbers that say where it is used."""
    state = seed
    for number in place:
        state = (state * 6364136223846793005 + number + 1442695040888963407) % 2**64
        state ^= state >> 29
    return torch.Generator().manual_seed(state % 2**63)


@dataclass(frozen=True, eq=False)
class Draws:
    """What is random in a batch.

    Attributes:
        noise: [B, ...], of the ego latent's shape.
        levels: noise levels [B], from 0 (data) to 1 (noise).
        chances: numbers from 0 up to below 1 [B], by which a method leaves something out of a clip.
    """

    noise: Tensor
    levels: Tensor
    chances: Tensor

    def to(self, like: Tensor) -> Draws:
        """Return them on the device and in the type of a tensor."""
        return Draws(self.noise.to(like), self.levels.to(like), self.chances.to(like))


def draw(shape: Sequence[int], levels: LevelSettings, seed: int, step: int, items: Sequence[int]) -> Draws:
    """Return what is random in some items of a step's batch.

    Args:
        shape: of one clip's ego latent.
        levels: how levels are drawn.
        seed: of the run.
        step: from 0.
        items: places in the whole batch, over all processes and accumulated batches.
    """
    generators = [generator_of(seed, step, item) for item in items]
    drawn = [levels.draw(generator) for generator in generators]
    noise = [torch.randn(tuple(shape), generator=generator) for generator in generators]
    chances = [torch.rand((), generator=generator) for generator in generators]
    return Draws(torch.stack(noise), torch.stack(drawn), torch.stack(chances))
