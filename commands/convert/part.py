"""A component that is ready to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ...networks.components.metadata import ComponentMetadata


@dataclass(frozen=True, eq=False)
class Part:
    """What a converter gives.

    Attributes:
        metadata: for the header.
        tensors: by the names of the component.
        notes: what the user should know, a line each.
    """

    metadata: ComponentMetadata
    tensors: Mapping[str, Tensor]
    notes: list[str] = field(default_factory=list)
