"""What a sampling run keeps: for every branch and window the exo keys and values of the last full step."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .places import Courier, KeptBlock, OnDevice, OnHost
from .plan import Keep
from .stored import AsTheyAre, InFp8

# A condition of the run, and the latent frames of the window, or None.
Branch = tuple[Hashable, "tuple[int, ...] | None"]


@dataclass
class KeptBranch:
    """Of one branch.

    Attributes:
        step: at which all of it was computed; None as long as it is not whole.
        shape: of a block's keys [b, rows, exo columns, channels]; None before the first.
        device: on which they were computed.
        blocks: by their numbers.
    """

    step: int | None = None
    shape: torch.Size | None = None
    device: torch.device | None = None
    blocks: dict[int, KeptBlock] = field(default_factory=dict)

    def free(self) -> None:
        """Let go of everything."""
        for block in self.blocks.values():
            block.free()
        self.blocks.clear()
        self.step = self.shape = self.device = None


class KeptTensors:
    """Of one sampling run.

    Args:
        keep: where; not `auto`.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._branches: dict[Branch, KeptBranch] = {}
        self._couriers: dict[torch.device, Courier] = {}

    @property
    def device_bytes(self) -> int:
        """Bytes on the model's devices."""
        blocks = [block for branch in self._branches.values() for block in branch.blocks.values()]
        return sum(part.device_bytes for part in (*blocks, *self._couriers.values()))

    def branch(self, branch: Branch) -> KeptBranch:
        """Return what is kept of a branch, at first nothing."""
        return self._branches.setdefault(branch, KeptBranch())

    def begin(self, branches: list[KeptBranch]) -> None:
        """Begin a full step of some branches: what they hold is not of one step any more."""
        for branch in branches:
            branch.step = None

    def keep(self, branch: KeptBranch, block: int, k: Tensor, v: Tensor, at: int) -> None:
        """Keep a block's exo keys and values [b, rows, exo columns, channels] of the branch number `at` of a call."""
        if (branch.shape, branch.device) != (k.shape, k.device):
            self._wait()
            branch.free()
            branch.shape, branch.device = k.shape, k.device
        if block not in branch.blocks:
            branch.blocks[block] = self._new(block, k)
        branch.blocks[block].keep(k, v, at)

    def free(self) -> None:
        """Let go of everything, also in the midst of a step."""
        for courier in self._couriers.values():
            courier.free()
        for branch in self._branches.values():
            branch.free()
        self._branches.clear()
        self._couriers.clear()

    def _wait(self) -> None:
        for courier in self._couriers.values():
            courier.wait()

    def _new(self, block: int, like: Tensor) -> KeptBlock:
        makers: dict[Keep, Callable[[], KeptBlock]] = {
            Keep.DEVICE: lambda: OnDevice(AsTheyAre, like),
            Keep.DEVICE_FP8: lambda: OnDevice(InFp8, like),
            Keep.HOST: lambda: OnHost(self._courier(like.device), block, like),
        }
        return makers[self._keep]()

    def _courier(self, device: torch.device) -> Courier:
        if device not in self._couriers:
            self._couriers[device] = Courier(device)
        return self._couriers[device]
