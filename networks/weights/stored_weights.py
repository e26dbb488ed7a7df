"""Give a network the weights of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def with_weights(
    network: Network, tensors: Mapping[str, Tensor], device: Any = None, dtype: torch.dtype | None = None
) -> Network:
    """Return a network that was made on the meta device, with its weights.

    Args:
        network: takes the tensors themselves, so that those mapped from a file are read when they are used.
        tensors: all of its parameters by name.
        device: where they shall lie; None: where they are.
        dtype: their type; None: as they are.
    """
    network.load_state_dict(tensors, assign=True)
    return network.to(device=device, dtype=dtype)
