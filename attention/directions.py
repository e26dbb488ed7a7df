"""The directions that GGA compares, as the attention back ends take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .bias import GGABias
from .extended_directions import ExtendedDirections
from .layout import TokenLayout

# Unit vectors and means of them are no longer than 1, up to rounding.
_LONGEST = 1.001


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
