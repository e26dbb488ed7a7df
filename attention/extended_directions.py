"""GGA's bias without a logarithm: a factor of the exponentials that one inner product gives.

Adding log(g) to a logit multiplies its exponential by g. With bias.py's constants, both forms of g are

    g = max(x, boost * x - (boost - 1) * (1 + 1e-6))        x = a * cos + b

    form                    a       b                 boost
    paper                   lambda  lambda (1 + 1e-6)  1
    release, lambda <= 1    lambda  1 + 1e-6           1
    release, lambda > 1     1       1 + 1e-6           lambda

and x is an inner product of five numbers of the query and five of the key: (a q, 1, 0) and (k, b, 1). A missing query
is (0, 0, 0, 0, 1), a missing key (0, 0, 0, 1, 1), which give x = 1 and g = 1: no bias. So a kernel that has the
products needs one fused multiply-add, a maximum and a product a pair, and no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .bias import LOG_EPSILON, GGABias, GGAForm, without_missing

EXTENDED = 5

# Width of the half-precision form: three times five numbers, and one that a tensor core's shape asks for.
SPLIT = 16


@dataclass(frozen=True, eq=False)
class ExtendedDirections:
    """Directions of which the inner products give GGA's factors.

    Attributes:
        queries: [T, Q, 5] float32, ego tokens of each frame.
        keys: [query frame T, K, 5] float32, exo tokens of all frames.
        boost: what multiplies positive cosines beyond `x`; 1 for none.
        smallest, largest: bounds of the factors.
    """

    queries: Tensor
    keys: Tensor
    boost: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, ego_queries: Tensor, exo_keys: Tensor, bias: GGABias) -> ExtendedDirections:
        """Extend directions [T, ..., 3] of queries and [T, ..., 3] of keys."""
        slope, constant, boost = _coefficients(bias)
        queries, has_query = without_missing(ego_queries.float().flatten(1, -2))  # [T, Q, 3], [T, Q]
        keys, has_key = without_missing(exo_keys.float().flatten(1, -2))  # [T, K, 3], [T, K]
        query_ends = torch.stack([has_query, ~has_query], dim=-1).float()  # [T, Q, 2]
        key_ends = torch.stack([torch.where(has_key, constant, 1.0), torch.ones_like(keys[..., 0])], dim=-1)
        return cls(
            torch.cat([queries * slope, query_ends], dim=-1),
            torch.cat([keys, key_ends], dim=-1),
            boost,
            min(1.0, constant - slope),
            max(1.0, constant + slope * boost),
        )

    @property
    def offset(self) -> float:
        """What is subtracted from `boost * x`."""
        return (self.boost - 1.0) * (1.0 + LOG_EPSILON)

    def factors(self, products: Tensor) -> Tensor:
        """Return the factors g of products x, elementwise."""
        if self.boost == 1.0:
            return products
        boosted = (products * self.boost).sub_(self.offset)
        return torch.maximum(products, boosted, out=boosted)

    @cached_property
    def numbers(self) -> Tensor:
        """`boost`, `offset` and `smallest` on the device, for kernels that are compiled once for all of them."""
        return torch.tensor([self.boost, self.offset, self.smallest], device=self.queries.device)

    @cached_property
    def split_queries(self) -> Tensor:
        """Queries as float16 [T, Q, 16]; their products with `split_keys` are exact to 2^-21."""
        high, low = _split(self.queries)
        return _padded(torch.cat([high, high, low], dim=-1))

    @cached_property
    def split_keys(self) -> Tensor:
        """Keys as float16 [T, K, 16]."""
        high, low = _split(self.keys)
        return _padded(torch.cat([high, low, high], dim=-1))


def _coefficients(bias: GGABias) -> tuple[float, float, float]:
    """Return a, b and boost."""
    if bias.form is GGAForm.PAPER:
        return bias.strength, bias.strength * (1.0 + LOG_EPSILON), 1.0
    if bias.strength <= 1.0:
        return bias.strength, 1.0 + LOG_EPSILON, 1.0
    return 1.0, 1.0 + LOG_EPSILON, bias.strength


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    """Write float32 values as the sum of two float16: x y = xh yh + xh yl + xl yh up to xl yl."""
    high = values.half()
    return high, (values - high.float()).half()


def _padded(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values, (0, SPLIT - values.shape[-1]))
