"""What every benchmark shares: how to measure, name the machine, and print rows side by side."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import pack

pack.register()

import torch  # noqa: E402


@dataclass(frozen=True)
class Row:
    """One measured case: the fastest of its runs.

    Attributes:
        name: the case.
        seconds: wall clock.
        cpu_seconds: CPU time of this process, all threads; on a busy machine the number to compare.
    """

    name: str
    seconds: float
    cpu_seconds: float


def measure(name: str, run: Callable[[], object], repeats: int) -> Row:
    """Run a case once to warm up, then `repeats` times, and keep the run with the least CPU time."""
    run()
    rows = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        rows.append(Row(name, time.perf_counter() - wall, time.process_time() - cpu))
    return min(rows, key=lambda row: row.cpu_seconds)


def machine(device: torch.device | None = None) -> str:
    """Name processor, cores, threads in use, the GPU where `device` is one, and the versions that matter."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    graphics = ""
    if device is not None and device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        graphics = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}; "
    return (
        f"{graphics}{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    )


class Neighbours:
    """Counts the cores that other processes use, from its creation on; only on Linux."""

    def __init__(self) -> None:
        self._start = self._now()

    def cores(self) -> float:
        """Return how many cores others kept busy on average since then; 0 where that cannot be told."""
        wall, everyone, own = (now - start for now, start in zip(self._now(), self._start))
        return max(0.0, (everyone - own) / wall)

    def warn(self) -> None:
        """Print a warning if that was more than a fifth of a core."""
        if (cores := self.cores()) > 0.2:
            print(f"Other processes used {cores:.1f} cores meanwhile: times are too long. Repeat on idle cores.")

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Return wall clock, CPU seconds of all processes, and CPU seconds of this one and its children."""
        stat, own = Path("/proc/stat"), sum(os.times()[:4])
        if not stat.exists():
            return time.perf_counter(), own, own
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
        ticks = user + nice + system + irq + softirq + steal
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), own


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=2, help="runs after the warm-up; the best one counts")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    return parser


def report(rows: list[Row], baseline: str, json_path: Path | None) -> None:
    """Print the rows with their wall time relative to the row called `baseline`, and write them where asked."""
    base = next(row for row in rows if row.name == baseline)
    print(machine())
    width = max(len(row.name) for row in rows)
    for row in rows:
        ratio = row.seconds / base.seconds
        print(f"{row.name:{width}s}  {row.seconds:8.3f} s  {row.cpu_seconds:8.3f} s CPU  {ratio:8.2f} x")
    if json_path is not None:
        content = {"machine": machine(), "baseline": baseline, "rows": [asdict(row) for row in rows]}
        json_path.write_text(json.dumps(content, indent=1))
