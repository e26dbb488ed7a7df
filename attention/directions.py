"""The directions that GGA compares, as the attention back ends take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import TokenLayout


@dataclass(frozen=True, eq=False)
class TokenDirections:
    """World directions of the tokens of a layout.

    Keys depend on the frame of the query, for they are seen from that frame's ego camera.

    Attributes:
        ego_queries: [T, rows, ego columns, 3].
        exo_keys: [query frame T, key frame T, rows, exo columns, 3].
    """

    ego_queries: Tensor
    exo_keys: Tensor

    def check(self, layout: TokenLayout) -> None:
        """Raise ValueError unless the directions fit the layout."""
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

    def to(self, device: torch.device) -> TokenDirections:
        """Return the directions on a device."""
        return TokenDirections(self.ego_queries.to(device), self.exo_keys.to(device))

    def frames(self, indices: Sequence[int]) -> TokenDirections:
        """Return the directions among some of the frames (a context window)."""
        chosen = list(indices)
        return TokenDirections(self.ego_queries[chosen], self.exo_keys[chosen][:, chosen])
