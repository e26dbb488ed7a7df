"""Blocks whose frozen weights lie in the host's memory and are copied to the device for as long as they are used.

With gradient checkpointing a block runs once forward and once more in the backward pass, which then ends with the copy:
at most one block's weights and those of the next are on the device. On CUDA the next block's are on their way while a
block computes. Copies change no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

_Copies = dict[str, Tensor]


def swap_blocks(blocks: Sequence[nn.Module], count: int) -> None:
    """Let the last blocks of a transformer keep their frozen weights in host memory, in place.

    They stay there whatever device the network is brought to. What is trained moves with the network.

    Args:
        blocks: all of them, in order. They have to be run under gradient checkpointing.
        count: how many.

    Raises:
        ValueError: if there are not so many.
    """
    if count > len(blocks):
        raise ValueError(f"[memory] swap_blocks is {count}, and the transformer has {len(blocks)} blocks.")
    if count:
        _Swap(blocks[len(blocks) - count :])


def is_swapped(block: nn.Module) -> bool:
    """Whether a block's frozen weights lie in host memory."""
    return isinstance(vars(block).get("_swapped"), _Swapped)


class _Swapped:
    """A block: its frozen weights on the host, and how it is run with copies of them."""

    def __init__(self, block: nn.Module) -> None:
        self.frozen = {name: value for name, value in block.named_parameters() if not value.requires_grad}
        self._places = [
            (module, key)
            for module in block.modules()
            for key, value in module._parameters.items()
            if value is not None and not value.requires_grad
        ]
        self._bare = _Bare(block)
        self._apply = block._apply
        for value in self.frozen.values():
            value.data = value.data.cpu()
        vars(block)["_swapped"] = self
        vars(block)["_apply"] = self.apply

    def run(self, copies: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        return functional_call(self._bare, {f"block.{name}": value for name, value in copies.items()}, args, kwargs)

    def pin(self) -> None:
        """Fix the weights' place in memory, which copies in the background need."""
        for value in self.frozen.values():
            if not value.data.is_pinned():
                value.data = value.data.pin_memory()

    def apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Do to what is trained what `to`, `cuda` and the like do to all of a module, and nothing to the rest."""
        kept = [module._parameters[key] for module, key in self._places]
        for module, key in self._places:
            module._parameters[key] = None
        try:
            return self._apply(fn, recurse)
        finally:
            for (module, key), value in zip(self._places, kept, strict=True):
                module._parameters[key] = value


class _Bare(nn.Module):
    """A block as it was before it was swapped, for `functional_call`."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self._forward = block.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(*args, **kwargs)


class _Swap:
    """The swapped blocks of a network, and which copies are on their way."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks = [_Swapped(block) for block in blocks]
        self._coming: dict[int, _Copies] = {}
        self._last = -1
        self._stream: torch.cuda.Stream | None = None
        for index, block in enumerate(blocks):
            vars(block)["forward"] = self._forward_of(index)

    def _forward_of(self, index: int) -> Callable[..., Any]:
        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            run = self._blocks[index].run
            if hidden.device.type != "cuda":
                return run(self._fetch(index, hidden.device), hidden, *args, **kwargs)
            copies, started = self._take(index, hidden.device)
            try:
                return run(copies, hidden, *args, **kwargs)
            finally:  # checkpointing ends a block that is run again by an exception, once it has what it needs
                # All that was before this block is done then, and its memory free: without this, a host that is far
                # ahead of the GPU would fetch block after block.
                started.synchronize()
                self._send_for_next(index, hidden.device)

        return forward

    def _take(self, index: int, device: torch.device) -> tuple[dict[str, Tensor], torch.cuda.Event]:
        """Return a block's weights on a GPU, and an event that says when all before it is done."""
        copies = self._coming.pop(index, None) or self._fetch(index, device)
        self._coming.clear()  # a guess that was wrong
        here = torch.cuda.current_stream(device)
        started = here.record_event()
        here.wait_stream(self._copying(device))
        for value in copies.values():
            value.record_stream(here)
        return copies, started

    def _send_for_next(self, index: int, device: torch.device) -> None:
        """Begin to copy the block that comes next: after the last one itself, and then those before it."""
        backward = index <= self._last
        following = index - 1 if backward else min(index + 1, len(self._blocks) - 1)
        self._last = index
        if following >= 0:
            self._coming[following] = self._fetch(following, device)

    def _copying(self, device: torch.device) -> torch.cuda.Stream:
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        return self._stream

    def _fetch(self, index: int, device: torch.device) -> _Copies:
        block = self._blocks[index]
        if device.type != "cuda":
            return {name: value.detach().to(device, copy=True) for name, value in block.frozen.items()}
        block.pin()
        with torch.cuda.stream(self._copying(device)):
            return {name: value.detach().to(device, non_blocking=True) for name, value in block.frozen.items()}
