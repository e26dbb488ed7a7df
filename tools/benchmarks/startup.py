"""What the pack adds to ComfyUI's start: cold starts with and without it, in turn.

python tools/run.py startup [--repeats 3] [--json FILE]
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timing  # first: it puts tools/ on the path

import environment  # isort: skip
from comfy_server import PACK_FOLDER, ROOT  # isort: skip

# ComfyUI prints this table itself.
_IMPORT_TIME = re.compile(rf"([\d.]+) seconds:.*{PACK_FOLDER}")


def start_once(comfyui: Path, with_pack: bool) -> tuple[timing.Row, str]:
    """Start ComfyUI until it would serve, then let it end; returns the times and what it printed."""
    with tempfile.TemporaryDirectory() as base:
        nodes = Path(base) / "custom_nodes"
        nodes.mkdir()
        if with_pack:
            (nodes / PACK_FOLDER).symlink_to(ROOT, target_is_directory=True)
        arguments = ["--cpu", "--quick-test-for-ci", "--disable-api-nodes", "--base-directory", base]
        command = [sys.executable, str(comfyui / "main.py"), *arguments, "--database-url", "sqlite:///:memory:"]
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run(command, cwd=base, capture_output=True, text=True, check=True, env=os.environ)
        wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    name = "with the pack" if with_pack else "without the pack"
    return timing.Row(name, wall, cpu), result.stdout + result.stderr


def main() -> None:
    """Measure and print."""
    options = timing.arguments(__doc__.splitlines()[0]).parse_args()
    comfyui = environment.prepare().comfyui
    start_once(comfyui, with_pack=True)  # fills the disk cache
    pairs = [(start_once(comfyui, False), start_once(comfyui, True)) for _ in range(options.repeats)]
    rows = [min((run[index][0] for run in pairs), key=lambda row: row.cpu_seconds) for index in (0, 1)]
    timing.report(rows, "without the pack", options.json)
    added = statistics.median(with_pack[0].cpu_seconds - without[0].cpu_seconds for without, with_pack in pairs)
    imports = [float(_IMPORT_TIME.search(with_pack[1]).group(1)) for _, with_pack in pairs]
    print(f"added CPU time, median of {len(pairs)} pairs: {added:.2f} s; ComfyUI's own figure: {min(imports):.1f} s")


if __name__ == "__main__":
    main()
