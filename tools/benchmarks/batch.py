"""What the batch client costs: over a real ComfyUI for clips of about a second, and for checking 2,000 rows.

Three times side by side: what the server says that it executed (from its own history), the same clips queued all at
once by a bare loop, and the batch client, each from the first clip's begin to the last one's end; the client's end is
when the outputs of the last clip lie in place, fetched, hashed and synced.

    python tools/run.py batch [--clips 30] [--repeats 2]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from timing import Neighbours, machine  # noqa: E402

from exo2ego.commands.batch.journal import Journal  # noqa: E402
from exo2ego.commands.batch.manifest import read_manifest  # noqa: E402
from exo2ego.commands.batch.mapping import Plan, make_plan  # noqa: E402
from exo2ego.commands.batch.outputs import OutputFolder  # noqa: E402
from exo2ego.commands.batch.scheduler import Batch, Options, check_servers  # noqa: E402
from exo2ego.commands.batch.sources import uploads_of  # noqa: E402
from exo2ego.commands.comfyui.client import ComfyConnection  # noqa: E402
from exo2ego.commands.comfyui.graph import load_workflow  # noqa: E402

CLIP_SECONDS = 1.0
ROWS = 2000


@contextmanager
def server(base: Path) -> Iterator[str]:
    """Run a ComfyUI with the tests' tiny models."""
    import environment

    from exo2ego.commands.comfyui import headless
    from support.tiny_models import write_tiny_models

    write_tiny_models(base / "models")
    standins = ROOT / "tests" / "support" / "standin_nodes"
    arguments = environment.device_arguments()
    with headless.running(environment.prepare().comfyui, base, arguments, custom_nodes=[standins]) as running:
        yield running.url


def plan_of(folder: Path, clips: int, steps: int, first_seed: int) -> Plan:
    """Return a plan of clips that differ in their seeds."""
    from support.batch import rows, tiny_graph, write_manifest

    inputs = {"workflow": folder / "workflow.json", "take": folder / "take", "clip": folder / "take" / "exo.mp4"}
    graph = tiny_graph()
    graph["25"]["inputs"]["steps"] = steps
    inputs["workflow"].write_text(json.dumps(graph))
    entries = [
        {**row, "name": f"clip {first_seed + n}", "Sampler.seed": first_seed + n}
        for n, row in enumerate(rows(inputs, clips))
    ]
    return make_plan(load_workflow(inputs["workflow"]), read_manifest(write_manifest(folder, entries)))


async def bare_loop(plan: Plan, url: str) -> tuple[float, float]:
    """Upload, queue everything at once, and wait.

    Returns:
        The server's own seconds, and those from the first begin to the last end.
    """
    connection = ComfyConnection(url)
    prompts = []
    for job in plan.jobs:
        placed = {}
        for target, source in job.sources.items():
            placed[target], uploads = uploads_of(source)
            for upload in uploads:
                await connection.send(upload)
        prompts.append(str(uuid.uuid4()))
        await connection.submit(plan.graph(job, placed), prompts[-1], "bare")
    while await connection.ended(prompts[-1], plan.workflow.graph) is None:
        await asyncio.sleep(0.02)
    spans = await executed(connection, prompts)
    await connection.close()
    return sum(end - begin for begin, end in spans), max(end for _, end in spans) - min(begin for begin, _ in spans)


async def executed(connection: ComfyConnection, prompts: list[str]) -> list[tuple[float, float]]:
    """Return begin and end of each prompt by the server's own clock, in seconds."""
    spans = []
    for prompt in prompts:
        messages = dict((await connection._json("GET", f"/history/{prompt}"))[prompt]["status"]["messages"])
        spans.append(tuple(messages[kind]["timestamp"] / 1000 for kind in ("execution_start", "execution_success")))
    return spans


async def with_client(plan: Plan, url: str, out: Path) -> tuple[float, float, float]:
    """Run a batch.

    Returns:
        The server's own seconds, those from the first begin to the last output in place, and the client's CPU seconds.
    """
    out.mkdir()
    cpu = time.process_time()
    with closing(Journal(out)) as journal:
        batch = Batch(plan, journal, OutputFolder(out), lambda *_, **__: None, Options())
        await batch.run([url])
        end, cpu = time.time(), time.process_time() - cpu
        prompts = [str(clip.prompt_id) for clip in journal.clips()]
    connection = ComfyConnection(url)
    spans = await executed(connection, prompts)
    await connection.close()
    return sum(end - begin for begin, end in spans), end - min(begin for begin, _ in spans), cpu


def steps_for(url: str, folder: Path, out: Path) -> int:
    """Return the sampling steps with which a clip takes about a second here."""
    times = {}
    for steps in (2, 2, 42):  # the first warms up
        plan = plan_of(folder, 4, steps, 10_000 + len(times) * 100 + steps)
        times[steps] = asyncio.run(with_client(plan, url, out / f"warm{steps}{time.time()}"))[0] / 4
    pace = (times[42] - times[2]) / 40
    return max(2, round(2 + (CLIP_SECONDS - times[2]) / pace))


def checking(folder: Path, info: dict[str, Any]) -> float:
    """Return the seconds in which 2,000 rows are read and checked, with everything that a server says of its nodes."""
    from support.batch import rows, write_manifest

    inputs = {"workflow": folder / "workflow.json", "take": folder / "take", "clip": folder / "take" / "exo.mp4"}
    path = write_manifest(folder, [{**row, "name": f"row {n}"} for n, row in enumerate(rows(inputs, ROWS))])
    begin = time.perf_counter()
    plan = make_plan(load_workflow(inputs["workflow"]), read_manifest(path), info)
    seconds = time.perf_counter() - begin
    assert not any(job.problem for job in plan.jobs)
    return seconds


def main() -> None:
    """Measure and print."""
    from support.graphs import write_small_take

    parser = argparse.ArgumentParser(description="Measure the batch client.")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    print(machine())
    neighbours = Neighbours()
    with tempfile.TemporaryDirectory() as name, server(Path(name) / "comfyui") as url:
        folder, out = Path(name) / "clips", Path(name)
        write_small_take(folder, "take", 1)
        steps = steps_for(url, folder, out)
        print(f"{options.clips} clips of {steps} steps")
        found = []
        for turn in range(options.repeats):
            bare_own, bare = asyncio.run(bare_loop(plan_of(folder, options.clips, steps, 1000 * turn), url))
            plan = plan_of(folder, options.clips, steps, 1000 * turn + 500)
            own, whole, cpu = asyncio.run(with_client(plan, url, out / f"out{turn}"))
            found.append({"bare_server": bare_own, "bare": bare, "server": own, "batch": whole, "client_cpu": cpu})
            print(
                f"bare loop {bare:6.2f} s, {100 * (bare / bare_own - 1):+.2f}% over the server's {bare_own:6.2f} s;  "
                f"batch {whole:6.2f} s, {100 * (whole / own - 1):+.2f}% over {own:6.2f} s, "
                f"{1000 * cpu / options.clips:.0f} ms CPU a clip"
            )
        info, _ = asyncio.run(check_servers([url], plan.workflow.types()))
        rows_seconds = checking(folder, info)
        print(f"{ROWS} rows read and checked in {rows_seconds:.2f} s")
    neighbours.warn()
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "runs": found, "rows_seconds": rows_seconds}, indent=1)
        )


if __name__ == "__main__":
    main()
