"""Memory for the temporaries of a loop, taken once: fresh memory costs a CPU more time than most of what is done in it.

The system hands memory out page by page, zeroed, at the first write to each.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class ReusedMemory(threading.local):
    """Temporaries by name, other ones in every thread; each lasts until its name is taken again."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return memory [size] that holds anything."""
        held = self._held.get(name)
        if held is None or len(held) < size or held.dtype != dtype or held.device != device:
            self._held.pop(name, None)
            self._held[name] = held = torch.empty(size, dtype=dtype, device=device)
        return held[:size]
