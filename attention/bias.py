"""The geometry bias of GGA: the one definition, in both of its forms.

Paper, Eq. 4 and 5: the logit of an ego query m and an exo key n becomes

    s'[m, n] = s[m, n] + log(g(q_m, k_n) * strength)        g(a, b) = cos(a, b) + 1 (here + 1e-6: never log 0)

with q_m the direction of the query's ray and k_n the direction from the camera centre of the query's frame to the key's
point in the scene.

Release (the published inference code): the factor weighs the cosine inside the logarithm,

    s'[m, n] = s[m, n] + log(c + 1 + 1e-6)

where c = strength * cos for positive cosines only if strength > 1, and for all cosines otherwise.

Both forms leave ego-ego pairs and all exo queries alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

# Added inside the logarithm by the release: log(1e-6) = -13.8 for opposite directions instead of minus infinity.
LOG_EPSILON = 1e-6

# The published inference scripts pass 3.0; training used 1.0.
RELEASE_STRENGTH = 3.0


class GGAForm(str, Enum):
    """Which formula turns a cosine into a bias."""

    PAPER = "paper"
    RELEASE = "release"


@dataclass(frozen=True)
class GGABias:
    """A form and its strength (the paper's lambda_g, the release's cos_sim_scaling_factor).

    Raises:
        ValueError: if the strength is not finite, negative, or zero in the paper's form (log 0).
    """

    form: GGAForm = GGAForm.RELEASE
    strength: float = RELEASE_STRENGTH

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", GGAForm(self.form))
        if not math.isfinite(self.strength) or self.strength < 0:
            raise ValueError(f"GGA's lambda is a number from 0 up, got {self.strength}.")
        if self.form is GGAForm.PAPER and self.strength == 0:
            raise ValueError("GGA's paper form takes the logarithm of lambda: give a lambda above 0.")

    def __call__(self, ego_queries: Tensor, exo_keys: Tensor) -> Tensor:
        """Return the bias of every pair of directions.

        Directions are taken as they are: the released ones are means of unit vectors and shorter than 1, so their
        product is smaller than the cosine. Longer ones are shortened to 1. A pair with a missing direction (exactly
        zero, or not finite) has the bias 0, as if there were no geometry.

        Args:
            ego_queries: [..., Q, 3] directions of ego rays.
            exo_keys: [..., K, 3] directions from the ego camera of the queries' frame to exo points.

        Returns:
            [..., Q, K], float32, or float64 for float64 directions. Half precision would be off by up to 8.
        """
        dtype = torch.promote_types(ego_queries.dtype, torch.float32)
        queries, has_query = without_missing(ego_queries.to(dtype))
        keys, has_key = without_missing(exo_keys.to(dtype))
        bias = self.of_cosine(_products(queries, keys))
        return torch.where(has_query.unsqueeze(-1) & has_key.unsqueeze(-2), bias, 0.0)

    def of_cosine(self, cosine: Tensor) -> Tensor:
        """Return the bias of cosines, elementwise; they are clamped to [-1, 1]."""
        cosine = cosine.clamp(-1.0, 1.0)
        if self.form is GGAForm.PAPER:
            return torch.log((cosine + 1.0 + LOG_EPSILON) * self.strength)
        scaled = cosine * self.strength
        if self.strength > 1.0:
            scaled = torch.where(cosine > 0, scaled, cosine)
        return torch.log(scaled + 1.0 + LOG_EPSILON)


def without_missing(directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the directions with missing ones set to zero, and which are there.

    Rounding can leave a direction a little longer than 1. It is shortened to 1: opposite such directions would have a
    product below -1, and a kernel that does without the clamp would get a negative factor.
    """
    present = directions.isfinite().all(dim=-1) & (directions != 0).any(dim=-1)
    length = directions.norm(dim=-1, keepdim=True).clamp(min=1.0)
    return torch.where(present.unsqueeze(-1), directions / length, 0.0), present


def _products(queries: Tensor, keys: Tensor) -> Tensor:
    # Not a matrix product: with TF32 switched on that would lose the bits that the logarithm needs near cos = -1.
    x, y, z = (queries[..., axis].unsqueeze(-1) * keys[..., axis].unsqueeze(-2) for axis in range(3))
    return x + y + z
