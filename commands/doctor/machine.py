"""Memory of this machine and of its graphics card, asked without torch where that can be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ..comfyui.state import Server

_PATIENCE = 10.0  # seconds for nvidia-smi, which sleeping cards take
_MIB = 1024**2


@dataclass(frozen=True)
class Memory:
    """Total and free bytes; free is None where it says nothing."""

    total: int
    free: int | None


@dataclass(frozen=True)
class Machine:
    """What samples.

    Attributes:
        card: name of the graphics card, None where there is none.
        vram: its memory.
        ram: the machine's; None where it cannot be asked.
    """

    card: str | None
    vram: Memory | None
    ram: Memory | None


def this_machine() -> Machine:
    """Ask this machine."""
    card, vram = _nvidia() or _by_torch() or (None, None)
    return Machine(card, vram, _ram())


def machine_of(server: Server) -> Machine:
    """Return what a server says of its own. What is free there says little: it frees its own models when it must."""
    system = server.system
    ram = Memory(system["ram_total"], None) if "ram_total" in system else None
    cards = [device for device in server.devices if device.get("type") != "cpu"]
    if not cards:
        return Machine(None, None, ram)
    return Machine(cards[0].get("name", "a card"), Memory(cards[0]["vram_total"], None), ram)


def _nvidia() -> tuple[str, Memory] | None:
    """Return the first NVIDIA card, which is the one that ComfyUI takes."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
        name, total, free = (part.strip() for part in answer.splitlines()[0].rsplit(",", 2))
        return name, Memory(int(total) * _MIB, int(free) * _MIB)
    except (subprocess.SubprocessError, OSError, IndexError, ValueError):
        return None  # a card without its driver, or one that shares the machine's memory and tells none


def _by_torch() -> tuple[str, Memory] | None:
    """Return the card of another maker; torch takes seconds to start, so only where it can know one."""
    try:
        build = version("torch")
    except PackageNotFoundError:
        return None
    if sys.platform != "darwin" and "rocm" not in build and "xpu" not in build:
        return None
    import torch

    if torch.backends.mps.is_available() and (ram := _ram()) is not None:
        return "Apple's GPU, which shares the machine's memory", ram
    for backend in (torch.cuda, torch.xpu):
        if backend.is_available():
            free, total = backend.mem_get_info(0)
            return backend.get_device_name(0), Memory(total, free)
    return None


def _ram() -> Memory | None:
    try:
        import psutil
    except ImportError:
        return None  # `versions` says that this is not ComfyUI's Python
    memory = psutil.virtual_memory()
    return Memory(memory.total, memory.available)
