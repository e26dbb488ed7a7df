"""What every section is given: machine and sizes, and who looks on while its cases are measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .plan import Plan


class LeftOutError(Exception):
    """A section cannot be measured here; the text says why."""


class DeviceLostError(RuntimeError):
    """A case left the GPU unusable for this process: nothing can be measured before a new one starts."""


def _nobody(case: str) -> None:
    """Hear of a case."""


@dataclass(frozen=True)
class Watch:
    """What a measurement is told and tells.

    Attributes:
        begin: called with the name of every case before it runs, so that it is known which one ended the process.
        skipped: why cases are left out, by their names.
        until: `time.perf_counter()` after which no more pairs are begun than have to be.
    """

    begin: Callable[[str], None] = _nobody
    skipped: Mapping[str, str] = field(default_factory=dict)
    until: float = math.inf

    @property
    def is_late(self) -> bool:
        """Whether time is up."""
        return time.perf_counter() > self.until


NOBODY = Watch()


def failure(error: Exception, device: torch.device) -> str:
    """Return in a line why a case failed, and free what it held.

    Raises:
        DeviceLostError: if the GPU answers no more, as after an access to memory that is not its own.
    """
    reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
            torch.cuda.empty_cache()
        except RuntimeError as lost:
            raise DeviceLostError(reason) from lost
    return reason


@dataclass(frozen=True)
class Context:
    """The machine and the sizes.

    Attributes:
        device: what is measured.
        plan: sizes.
        comfyui: ComfyUI's folder, or None: sections that need it are left out.
        told: called with a library's name and version, once it is loaded.
    """

    device: torch.device
    plan: Plan
    comfyui: Path | None
    told: Callable[[str, str], None]

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        """Half precision on a card; the CPU's tiny trial is in float32, which all of its back ends take."""
        return (torch.bfloat16, torch.float16) if self.device.type == "cuda" else (torch.float32,)
