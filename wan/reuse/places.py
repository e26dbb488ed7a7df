"""Where keys and values of exo tokens wait for the next step, block by block.

In host memory they are pinned and travel beside the computation: a block's are on their way while the block before it
runs. Two slots a branch lie on the device, one for the block that runs and one for the next. A full step fills the same
slots, from where they travel back. Off CUDA the same happens without streams, one after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ...common.safe_text import safe_logger
from .stored import Stored

_log = safe_logger(__name__)

_SLOTS = 2  # the block that runs, and the next


class KeptBlock(ABC):
    """Keys and values of one block's exo tokens, of one branch.

    `at` is the branch's number in the model call, which names its slots.
    """

    @property
    @abstractmethod
    def device_bytes(self) -> int:
        """Bytes that it takes on the model's device."""

    @abstractmethod
    def keep(self, k: Tensor, v: Tensor, at: int) -> None:
        """Take in keys and values [b, rows, exo columns, heads * d]; views of larger ones will do."""

    def fetch(self, at: int) -> None:  # noqa: B027 (most lie where they are needed)
        """Set out for the device."""

    @abstractmethod
    def write(self, k: Tensor, v: Tensor, at: int) -> None:
        """Write them into tensors of that shape."""

    def free(self) -> None:  # noqa: B027
        """Let go of what does not end by itself."""


class OnDevice(KeptBlock):
    """Keys and values on the model's device.

    Args:
        stored: how; a class of `stored`.
        like: tensor of the shape, type and device of each.
    """

    def __init__(self, stored: type[Any], like: Tensor) -> None:
        self._both: tuple[Stored, Stored] = (stored(like), stored(like))

    @property
    def device_bytes(self) -> int:
        """Bytes that it takes on the model's device."""
        return sum(one.nbytes for one in self._both)

    def keep(self, k: Tensor, v: Tensor, at: int) -> None:
        """Take in keys and values."""
        for one, values in zip(self._both, (k, v)):
            one.keep(values)

    def write(self, k: Tensor, v: Tensor, at: int) -> None:
        """Write them out."""
        for one, values in zip(self._both, (k, v)):
            one.write(values)


class Slot:
    """Room on the device for one block's keys and values, with what two streams wait for.

    Args:
        like: tensor of the shape, type and device of each of the two.
        beside: the stream on which copies travel; None off CUDA.
    """

    def __init__(self, like: Tensor, beside: Any) -> None:
        self.both = torch.empty(2, *like.shape, dtype=like.dtype, device=like.device)
        self.holds: object = None
        self._beside = beside
        self._filled, self._emptied = (None if beside is None else torch.cuda.Event() for _ in range(2))
        self._record(self._emptied)  # the memory may still be in use by what the device does before

    def fetch(self, host: Tensor, owner: object) -> None:
        """Have it filled from host memory."""
        self.holds = owner
        if self._beside is None:
            self.both.copy_(host)
            return
        self._beside.wait_event(self._emptied)
        with torch.cuda.stream(self._beside):
            self.both.copy_(host, non_blocking=True)
            self._filled.record(self._beside)

    def write(self, k: Tensor, v: Tensor) -> None:
        """Write what it holds, as soon as that is there."""
        self._wait(self._filled)
        k.copy_(self.both[0])
        v.copy_(self.both[1])
        self._record(self._emptied)

    def send(self, k: Tensor, v: Tensor, host: Tensor) -> None:
        """Take keys and values in, and have them copied to host memory."""
        self.holds = None
        self._wait(self._emptied)
        self.both[0].copy_(k)
        self.both[1].copy_(v)
        self._record(self._filled)
        if self._beside is None:
            host.copy_(self.both)
            return
        self._beside.wait_event(self._filled)
        with torch.cuda.stream(self._beside):
            host.copy_(self.both, non_blocking=True)
            self._emptied.record(self._beside)

    def _wait(self, event: Any) -> None:
        if event is not None:
            torch.cuda.current_stream(self.both.device).wait_event(event)

    def _record(self, event: Any) -> None:
        if event is not None:
            event.record(torch.cuda.current_stream(self.both.device))


class Courier:
    """Carries between host memory and a device; one a device and run.

    Args:
        device: the model's.
    """

    def __init__(self, device: torch.device) -> None:
        self._beside = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._slots: dict[tuple[int, int], Slot] = {}

    @property
    def device_bytes(self) -> int:
        """Bytes of all slots."""
        return sum(slot.both.nbytes for slot in self._slots.values())

    def slot(self, at: int, block: int, like: Tensor) -> Slot:
        """Return the slot of a block of a branch."""
        place = (at, block % _SLOTS)
        found = self._slots.get(place)
        if found is None or found.both.shape[1:] != like.shape:  # a last window may be of another length
            self.wait()
            found = self._slots[place] = Slot(like, self._beside)
        return found

    def wait(self) -> None:
        """Wait until nothing travels."""
        if self._beside is not None:
            self._beside.synchronize()

    def free(self) -> None:
        """Give the slots back."""
        self.wait()
        self._slots.clear()


class OnHost(KeptBlock):
    """Keys and values in host memory.

    Args:
        courier: who carries them.
        block: number of the block.
        like: tensor of the shape, type and device of each.
    """

    def __init__(self, courier: Courier, block: int, like: Tensor) -> None:
        self._courier = courier
        self._block = block
        self._like = like[:0].new_empty(()).expand(like.shape)  # its shape, type and device, in no memory
        self._host = torch.empty(2, *like.shape, dtype=like.dtype)
        self._is_pinned = like.is_cuda and _pin(self._host)
        if like.is_cuda and not self._is_pinned:
            _log.warning(
                "Exo Reuse could not pin %.0f MB of host memory, so that they do not travel beside the computation: "
                "steps take longer. Free memory, or choose another 'keep'.",
                self._host.nbytes / 1e6,
            )

    @property
    def device_bytes(self) -> int:
        """None of its own: the courier's slots are counted once."""
        return 0

    def keep(self, k: Tensor, v: Tensor, at: int) -> None:
        """Take in keys and values."""
        self._courier.slot(at, self._block, self._like).send(k, v, self._host)

    def fetch(self, at: int) -> None:
        """Set out for the device."""
        self._courier.slot(at, self._block, self._like).fetch(self._host, self)

    def write(self, k: Tensor, v: Tensor, at: int) -> None:
        """Write them out, fetched before or now."""
        slot = self._courier.slot(at, self._block, self._like)
        if slot.holds is not self:
            slot.fetch(self._host, self)
        slot.write(k, v)

    def free(self) -> None:
        """Unpin; nothing may travel any more."""
        if self._is_pinned:
            _unpin(self._host)
            self._is_pinned = False


def _pin(tensor: Tensor) -> bool:
    """Pin host memory where it lies, so that it can be given back; torch's own allocator would hold on to it."""
    if (pin := getattr(comfy.model_management, "pin_memory", None)) is not None:
        return bool(pin(tensor))
    return torch.cuda.cudart().cudaHostRegister(tensor.data_ptr(), tensor.nbytes, 1) == 0


def _unpin(tensor: Tensor) -> None:
    if (unpin := getattr(comfy.model_management, "unpin_memory", None)) is not None:
        unpin(tensor)
    else:
        torch.cuda.cudart().cudaHostUnregister(tensor.data_ptr())
