"""How much exo reuse keeps of a run, and where there is room for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import comfy.model_management
import psutil
import torch

from ...attention.layout import TokenLayout
from ..shared.wrappers import WINDOWS_KEY, model_call_wrapper

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

# Of a card's memory that ComfyUI's estimate, the weights and what is kept may fill; of the host's that is available.
_SHARE_OF_DEVICE, _SHARE_OF_HOST = 0.92, 0.9

_SLOTS_ON_DEVICE = 2  # blocks that lie on the device of those in host memory


class Keep(str, Enum):
    """Where exo keys and values wait for the next step."""

    AUTO = "auto"
    DEVICE = "device"
    DEVICE_FP8 = "device fp8"
    HOST = "host"


@dataclass(frozen=True)
class ReuseSettings:
    """How the exo view is reused.

    Attributes:
        every: of how many steps one runs in full; 1 is off.
        keep: where its keys and values wait.
    """

    every: int
    keep: Keep = Keep.AUTO

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"Exo Reuse runs one of a number of steps in full, from 1 (off) up, got {self.every}.")
        object.__setattr__(self, "keep", Keep(self.keep))


@dataclass(frozen=True)
class Plan:
    """What a run keeps.

    Attributes:
        every: of how many steps one runs in full.
        keep: where; resolved.
        blocks: of the model.
        block_bytes: keys and values of a block, all windows together, of one branch; fp8 counted as such.
        branches: positive and negative, as they are evaluated.
        windows: of a long clip.
        on_cpu: whether the model's device is the CPU.
    """

    every: int
    keep: Keep
    blocks: int
    block_bytes: int
    branches: int
    windows: int
    on_cpu: bool

    @property
    def total_bytes(self) -> int:
        """Of all blocks, branches and windows."""
        return self.blocks * self.block_bytes * self.branches

    @property
    def device_bytes(self) -> int:
        """Those on the model's device at a time."""
        if self.keep is Keep.HOST:
            return _SLOTS_ON_DEVICE * self.block_bytes * self.branches // self.windows
        return self.total_bytes

    def describe(self) -> str:
        """Return the plan in a line."""
        place = {
            Keep.DEVICE: "in memory" if self.on_cpu else "on the card as they are",
            Keep.DEVICE_FP8: "in memory in fp8" if self.on_cpu else "on the card in fp8",
            Keep.HOST: "in host memory, streamed beside the computation",
        }[self.keep]
        each = f"{self.blocks} blocks of {_size(self.block_bytes)}"
        if self.windows > 1:
            each += f" for {self.windows} windows"
        guidance = f", {self.branches} branches (positive and negative)" if self.branches > 1 else ""
        return (
            f"{described_every(self.every)}; keys and values kept: {each}{guidance}, {_size(self.total_bytes)} {place}."
        )


def described_every(every: int) -> str:
    """Return in words which steps run in full."""
    return (
        "every step in full (off)" if every == 1 else f"one of {every} steps in full, the others for the ego view alone"
    )


def planned(
    model: ModelPatcher,
    settings: ReuseSettings,
    layout_of: Callable[[Sequence[int]], TokenLayout],
    noise_shape: Sequence[int],
    branches: int,
) -> Plan:
    """Plan a run.

    Args:
        model: MODEL.
        settings: as asked for.
        layout_of: returns the tokens of a sampled latent.
        noise_shape: of the sampled latent [B, 16, T, h, w].
        branches: conditions that the run evaluates at a step.

    Raises:
        ValueError: if there is room nowhere.
    """
    network = model.model.diffusion_model
    batch, channels, frames, *sizes = noise_shape
    in_windows = model_call_wrapper(model, WINDOWS_KEY)
    windows = [range(frames)] if in_windows is None else in_windows.windows.over(frames)
    layout = layout_of(noise_shape)
    tokens = sum(len(window) for window in windows) * layout.exo_tokens // layout.frames
    values = 2 * batch * tokens * network.dim
    itemsize = comfy.model_management.dtype_size(model.model.manual_cast_dtype or model.model.get_dtype())

    def plan(keep: Keep) -> Plan:
        size = values * (1 if keep is Keep.DEVICE_FP8 else itemsize)
        on_cpu = model.load_device.type == "cpu"
        return Plan(settings.every, keep, len(network.blocks), size, branches, len(windows), on_cpu)

    seen = [batch * branches, channels, *(max(map(len, windows)), *sizes)]
    chosen = plan(settings.keep) if settings.keep is not Keep.AUTO else _first_that_fits(model, plan, seen)
    if chosen.keep is Keep.HOST and not chosen.on_cpu:
        _check_host(chosen)
    return chosen


def _first_that_fits(model: ModelPatcher, plan: Callable[[Keep], Plan], seen: Sequence[int]) -> Plan:
    device = model.load_device
    if device.type == "cpu":
        return plan(Keep.DEVICE)
    needed = model.model_size() + model.get_model_object("memory_required")(list(seen))
    room = _SHARE_OF_DEVICE * comfy.model_management.get_total_memory(device) - needed
    keeps = (Keep.DEVICE, Keep.DEVICE_FP8) if _knows_fp8(device) else (Keep.DEVICE,)
    for keep in keeps:
        if plan(keep).device_bytes <= room:
            return plan(keep)
    return plan(Keep.HOST)


def _knows_fp8(device: torch.device) -> bool:
    return device.type in ("cuda", "xpu")


def _check_host(plan: Plan) -> None:
    available = psutil.virtual_memory().available
    if plan.total_bytes > _SHARE_OF_HOST * available:
        raise ValueError(
            f"Exo Reuse would keep {_size(plan.total_bytes)} in host memory, and {_size(available)} are available. "
            "Choose 'device fp8', sample with CFG 1 (half as much), take a shorter clip or window, or set every to 1 "
            "(off)."
        )


def branches_of(guider: Any) -> int:
    """Return how many conditions a guider evaluates at a step, at most."""
    conds = dict(getattr(guider, "conds", {}))
    cfg = getattr(guider, "cfg", None)
    if cfg is not None and abs(cfg - 1.0) < 1e-6 and not guider.model_options.get("disable_cfg1_optimization", False):
        conds.pop("negative", None)
    return max(1, sum(len(entries) for entries in conds.values() if entries is not None))


def _size(nbytes: float) -> str:
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if nbytes >= unit), (1e3, "kB"))
    return f"{nbytes / unit:.1f} {name}"
