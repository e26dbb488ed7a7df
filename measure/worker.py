"""The process that measures: section after section, each row told as a line of JSON on standard output.

It is a process of its own so that a kernel that breaks the GPU's context ends no more than itself, and so that a
cancel need not wait for a kernel. Who started it sees which case ran last and can start another without that case.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..common.safe_text import one_line
from . import kernels, model, stock, whole
from .compare import Row
from .context import Context, DeviceLostError, LeftOutError, Watch
from .plan import SHARES, Card, Plan, plan_for

SECTIONS: dict[str, Callable[[Context, Watch], Iterator[Row]]] = {
    "correctness": kernels.correctness,
    "attention": kernels.alone,
    "gradients": kernels.gradients,
    "tiles": kernels.best_tile,
    "steps": model.whole_steps,
    "memory": model.peak_memory,
    "prior": whole.prior,
    "vae": whole.vae,
    "run": whole.whole_run,
}

NO_CUDA = "no CUDA"
LOST = 70  # exit code: the GPU answers this process no more

_PRODUCT = 4096  # side of the matrices by which a card's speed is known
_WARM = 0.3  # seconds that a card is busy before: at rest its clocks are a fraction of what they are at work
_TOKENS, _HEADS = 4096, 16


def main(job: Mapping[str, Any]) -> int:
    """Measure what a job says; returns the exit code.

    Args:
        job: `device`, `sections`, `seconds` that are left for them, `skipped` (section -> case -> why), `plan` or
            None, `budget` in seconds of which a plan is made, `comfyui` or None.
    """
    tell = _teller()
    device = torch.device(job["device"])
    if device.type == "cuda" and not torch.cuda.is_available():
        tell(event="unusable", why=f"PyTorch {torch.__version__} finds no CUDA GPU", reason=NO_CUDA)
        return 1
    if device.type == "cuda":  # by its number, as ComfyUI names it: it holds `cuda` and `cuda:0` for two devices
        device = torch.device("cuda", torch.cuda.current_device())
    card = card_of(device)
    plan = Plan.from_json(job["plan"]) if job["plan"] else plan_for(card, job["budget"])
    tell(event="machine", machine=machine(device, card), plan=plan.to_json(), lines=plan.described())
    comfyui = Path(job["comfyui"]) if job["comfyui"] else None
    context = Context(device, plan, comfyui, lambda name, told: tell(event="version", name=name, version=told))
    end = time.perf_counter() + job["seconds"]
    for number, name in enumerate(job["sections"]):
        begun = time.perf_counter()
        seconds = max(0.0, end - begun) * SHARES[name] / sum(SHARES[later] for later in job["sections"][number:])
        tell(event="section", section=name, seconds=seconds)
        watch = Watch(lambda case: tell(event="case", case=case), job["skipped"].get(name, {}), begun + seconds)
        try:
            for row in SECTIONS[name](context, watch):
                tell(event="row", section=name, row=asdict(row))
            state, why = "done", ""
        except DeviceLostError as lost:
            tell(event="lost", why=str(lost))
            return LOST
        except LeftOutError as left_out:
            state, why = "left out", str(left_out)
        except Exception as error:  # the other sections go on
            state, why = "failed", one_line(f"{type(error).__name__}: {error}")
        tell(event="end", section=name, state=state, why=why, seconds=time.perf_counter() - begun)
    return 0


def _teller() -> Callable[..., None]:
    """Return what writes events; whatever else is printed goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(**event: object) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    return tell


def card_of(device: torch.device) -> Card:
    """Measure what sizes are chosen from, in a second or two."""
    if device.type != "cuda":
        return Card(0, is_dry=True)
    free = torch.cuda.mem_get_info(device)[0]
    a = torch.randn(_PRODUCT, _PRODUCT, device=device, dtype=torch.bfloat16)
    q = torch.randn(1, _TOKENS, _HEADS * 128, device=device, dtype=torch.bfloat16)
    products = 2 * _PRODUCT**3 / _seconds(lambda: a @ a, device)
    attention = 4 * _TOKENS**2 * _HEADS * 128 / _seconds(lambda: stock.attend(q, q, q, _HEADS), device)
    return Card(free, products, attention)


def _seconds(run: Callable[[], object], device: torch.device, times: int = 20) -> float:
    begun = time.perf_counter()
    while time.perf_counter() - begun < _WARM:
        run()
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - begun) / times


def machine(device: torch.device, card: Card) -> dict[str, Any]:
    """Return what a result's reader must know of the machine."""
    found: dict[str, Any] = {
        "device": device.type,
        "card": "",
        "memory": 0,
        "free": card.free,
        "capability": "",
        "processors": 0,
        "driver": "",
        "cuda": torch.version.cuda or "",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "card": properties.name,
            "memory": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "processors": properties.multi_processor_count,
            "driver": _driver(),
            "products": round(card.products / 1e12, 1),
            "attention": round(card.attention / 1e12, 1),
        }
    for name in ("triton", "triton-windows", "sageattention", "xformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _driver() -> str:
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""
