"""The directions that GGA compares, as the attention back ends take them.

`TokenDirections` are the directions; `ExtendedDirections` have the bias folded in, for back ends that multiply
exponentials and take no logarithm. Adding log(g) to a logit multiplies its exponential by g. With bias.py's constants,
both forms of g are

    g = max(x, boost * x - (boost - 1) * (1 + 1e-6))        x = a * cos + b

    form                    a       b                 boost
    paper                   lambda  lambda (1 + 1e-6)  1
    release, lambda <= 1    lambda  1 + 1e-6           1
    release, lambda > 1     1       1 + 1e-6           lambda

and x is an inner product of five numbers of the query and five of the key: (a q, 1, 0) and (k, b, 1). A missing query
is (0, 0, 0, 0, 1), a missing key (0, 0, 0, 1, 1), which give x = 1 and g = 1: no bias. So a kernel that has the
products needs one fused multiply-add, a maximum and a product a pair, and no special case. Ego keys are missing keys to
it: all keys are one stream, in the order of the joined tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .bias import LOG_EPSILON, GGABias, GGAForm, without_missing
from .layout import TokenLayout

# Unit vectors and means of them are no longer than 1, up to rounding.
_LONGEST = 1.001

EXTENDED = 5

# Width of the half-precision form: three times five numbers, and one that a tensor core's shape asks for.
SPLIT = 16


@dataclass(frozen=True, eq=False)
class TokenDirections:
    """World directions of the tokens of a layout, on one device.

    Keys depend on the frame of the query, for they are seen from that frame's ego camera. Directions are unit vectors
    or means of unit vectors; a zero or not finite one is missing.

    Attributes:
        ego_queries: [T, rows, ego columns, 3].
        exo_keys: [query frame T, key frame T, rows, exo columns, 3].
    """

    ego_queries: Tensor
    exo_keys: Tensor
    _extended: dict[GGABias, ExtendedDirections] = field(default_factory=dict, init=False, repr=False)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient of the directions is asked for."""
        return self.ego_queries.requires_grad or self.exo_keys.requires_grad

    def check(self, layout: TokenLayout) -> None:
        """Raise ValueError unless the directions fit the layout and are directions."""
        expected = (
            (layout.frames, layout.rows, layout.ego_columns, 3),
            (layout.frames, layout.frames, layout.rows, layout.exo_columns, 3),
        )
        got = (tuple(self.ego_queries.shape), tuple(self.exo_keys.shape))
        if got != expected:
            raise ValueError(
                f"GGA's directions do not fit the latents: expected ego queries {expected[0]} and "
                f"exo keys {expected[1]}, got {got[0]} and {got[1]}. "
                "Give GGA the cameras and depth of the clip that is sampled."
            )
        both = (self.ego_queries, self.exo_keys)
        lengths = [directions.norm(dim=-1).nan_to_num(0.0, posinf=0.0) for directions in both]
        longest = max(float(length.max()) for length in lengths)
        if longest > _LONGEST:
            raise ValueError(f"GGA's directions are unit vectors or means of them, got one of length {longest:.3g}.")

    def extended(self, bias: GGABias) -> ExtendedDirections:
        """Return the directions with a bias folded in, computed once."""
        if bias not in self._extended:
            self._extended[bias] = ExtendedDirections.of(self.ego_queries, self.exo_keys, bias)
        return self._extended[bias]

    def to(self, device: torch.device) -> TokenDirections:
        """Return the directions on a device."""
        return TokenDirections(self.ego_queries.to(device), self.exo_keys.to(device))

    def frames(self, indices: Sequence[int]) -> TokenDirections:
        """Return the directions among some of the frames (a context window)."""
        chosen = list(indices)
        return TokenDirections(self.ego_queries[chosen], self.exo_keys[chosen][:, chosen])


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
    _joined: dict[TokenLayout, Tensor] = field(default_factory=dict, init=False, repr=False)

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

    def joined_keys(self, layout: TokenLayout) -> Tensor:
        """Return keys as float16 [query frame T, n_tokens, 16], ego keys with the direction whose factor is exactly 1.

        Computed once, for these directions are of one layout.
        """
        if layout not in self._joined:
            high, low = _split(self.keys)
            shape = (layout.frames, layout.frames * layout.rows, layout.columns, SPLIT)
            joined = torch.zeros(shape, dtype=torch.float16, device=self.keys.device)
            exo = joined[:, :, : layout.exo_columns]
            for place, part in enumerate((high, low, high)):
                numbers = part.view(*shape[:2], layout.exo_columns, EXTENDED)
                exo[..., place * EXTENDED : (place + 1) * EXTENDED] = numbers
            for place in (0, 2):  # (0, 0, 0, 1, 1), which has no low half
                joined[:, :, layout.exo_columns :, place * EXTENDED + 3 : (place + 1) * EXTENDED] = 1.0
            self._joined[layout] = joined.flatten(1, 2)
        return self._joined[layout]

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
