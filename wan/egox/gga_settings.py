"""Where, how strongly and by which directions GGA acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ...attention.bias import RELEASE_STRENGTH, GGABias, GGAForm
from ...attention.choice import AUTO
from ...attention.layout import TokenLayout
from ...geometry.directions.directions import GGADirections


class DirectionSource(Protocol):
    """What gives the directions of a token layout: `ClipGeometry`."""

    def directions(self, grid: TokenLayout, progress: Callable[[int, int], None] | None = None) -> GGADirections:
        """Return the directions; a zero vector is a missing one. ValueError if the clip does not have the layout."""
        ...


@dataclass(frozen=True)
class GGASettings:
    """Where and how strongly GGA acts.

    Attributes:
        form: the paper's formula or the released one.
        strength: lambda; the inference scripts of the release use 3.0, its training 1.0.
        start_percent, end_percent: part of the schedule, as for ControlNet.
        first_block, last_block: transformer blocks, both included; -1 is the last one.
        backend: who computes the attention of the ego queries.
    """

    form: GGAForm = GGAForm.RELEASE
    strength: float = RELEASE_STRENGTH
    start_percent: float = 0.0
    end_percent: float = 1.0
    first_block: int = 0
    last_block: int = -1
    backend: str = AUTO

    def __post_init__(self) -> None:
        GGABias(self.form, self.strength)
        if not 0.0 <= self.start_percent <= self.end_percent <= 1.0:
            raise ValueError(
                f"GGA acts from start_percent to end_percent, 0 <= start <= end <= 1, got {self.start_percent} and "
                f"{self.end_percent}. Swap them, or set both so."
            )

    def blocks(self, count: int) -> range:
        """Return the chosen blocks of a model with `count` blocks; see `block_range`."""
        return block_range(self.first_block, self.last_block, count)


def block_range(first: int, last: int, count: int) -> range:
    """Return the blocks from `first` to `last`, both included, of a model with `count`; -1 is the last one.

    Raises:
        ValueError: if that is none.
    """
    end = count - 1 if last < 0 else min(last, count - 1)
    if not 0 <= first <= end:
        raise ValueError(
            f"The blocks {first} to {last} are none of the model's 0 to {count - 1}: choose first_block <= last_block "
            "(-1 is the last one)."
        )
    return range(first, end + 1)


@dataclass(frozen=True)
class Guidance:
    """What guides the runs of one `Match`.

    Attributes:
        geometry: of the clip; asked for directions once the latent sizes are known.
        settings: where and how strongly GGA acts.
        text: what is in force, for people.
    """

    geometry: DirectionSource
    settings: GGASettings = field(default_factory=GGASettings)
    text: str = ""
