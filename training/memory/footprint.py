"""What a forward and a backward pass take, measured on tensors without numbers.

The network's own code runs, operation by operation, on torch's fake tensors: they know shape, type and device, and no
memory stands behind them. What is alive is counted at every moment, as an allocator would. The device told is the CPU:
torch chooses there the same kind of attention as on a GPU, which keeps queries, keys, values and result and no matrix.
What kernels take within themselves, and what an allocator leaves fallow between tensors, is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Footprint:
    """Bytes beside weights and gradients.

    Attributes:
        kept: what is alive when the forward pass is done and waits for the backward pass, the clips included.
        peak: the most at any moment of either.
    """

    kept: int
    peak: int


def footprint(network: nn.Module, losses: Callable[[nn.Module], Tensor], *, half: bool) -> Footprint:
    """Measure a training step of a network, without its optimizer.

    Args:
        network: on the meta device, with the types that its weights have in training. It is of no use afterwards.
        losses: makes its clips and returns the losses that the network has with them.
        half: whether it runs in autocast to bfloat16.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        _lose_numbers(network)
        alive = _Alive(network)
        with alive:
            with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
                loss = losses(network).mean()
            kept = alive.now
            loss.backward()
    return Footprint(kept, alive.peak)


class _Alive(TorchDispatchMode):
    """Counts the bytes that tensors have which are made while it is in force, as long as they are alive."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = {
            tensor.untyped_storage()._cdata
            for value in (*network.parameters(), *network.buffers())
            for tensor in (value, value.grad)
            if tensor is not None
        }

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _lose_numbers(network: nn.Module) -> None:
    """Bring a network from the meta device to a made-up CPU; what trains has its gradient already."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if value is not None:
                empty = torch.empty(value.shape, dtype=value.dtype)
                parameter = nn.Parameter(empty, requires_grad=value.requires_grad)
                parameter.grad = torch.empty_like(empty) if value.requires_grad else None
                module._parameters[name] = parameter
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype)
