"""A flow with a known velocity: guided Gaussian mixtures in one dimension, an entry of the tensor each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Equal shares of Gaussians with these means, of one width."""

    means: tuple[float, ...]
    width: float

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        """Return the mean of x0 given x = (1 - sigma) x0 + sigma noise."""
        means = torch.tensor(self.means, dtype=torch.float64)
        variance = ((1 - sigma) * self.width) ** 2 + sigma**2
        away = x.double()[..., None] - (1 - sigma) * means
        shares = (-away.square() / (2 * variance)).softmax(dim=-1)
        return (shares * (means + (1 - sigma) * self.width**2 / variance * away)).sum(dim=-1)


@dataclass(frozen=True)
class GuidedFlow:
    """The velocity that a sampler sees under classifier-free guidance."""

    positive: Mixture
    negative: Mixture
    cfg: float = 5.0

    def velocity(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return dx/dsigma at a noise level above 0."""
        level = float(sigma)
        negative = self.negative.denoised(x, level)
        denoised = negative + self.cfg * (self.positive.denoised(x, level) - negative)
        return ((x.double() - denoised) / level).to(x.dtype)


FLOWS = {
    "gaussians": GuidedFlow(Mixture((1.0,), 1.0), Mixture((0.0,), 1.0)),
    "mixtures": GuidedFlow(Mixture((-1.0, 1.0), 0.5), Mixture((-1.0, 0.5), 0.5)),
}
