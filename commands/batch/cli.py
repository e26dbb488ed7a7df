"""The commands: run, status, retry, report.

Exit codes: 0 all clips are done; 1 some failed, or would; 2 the manifest, workflow or command is wrong; 3 the servers
or the disk ended it; 130 stopped by Ctrl-C or SIGTERM. After 3 and 130 the same command goes on where it ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import math
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...common.safe_text import say
from ..comfyui.address import ServerAddress
from ..comfyui.errors import WorkflowError
from ..comfyui.graph import load_workflow
from ..program import program
from .clip_life import Emit
from .display import JsonLines, Lines, Panel, Tally
from .errors import BatchError, ServersGoneError
from .journal import DONE, FAILED, WAYS_OUT, Journal
from .manifest import read_manifest
from .mapping import Plan, make_plan
from .outputs import OutputFolder, move_aside, only_one
from .report import coverage_of, seconds_of, write_report
from .scheduler import Batch, Options, check_servers

OK, SOME_FAILED, WRONG, BROKEN, STOPPED = 0, 1, 2, 3, 130
_TICK_SECONDS = 0.5
_ERRORS_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # names may hold letters that a terminal or a log's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        # Scripts start programs in the background with Ctrl-C ignored, and containers stop theirs by SIGTERM.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (BatchError, WorkflowError) as error:
        say(f"error: {error}", file=sys.stderr)
        return BROKEN if isinstance(error, ServersGoneError) else WRONG
    except (OSError, sqlite3.OperationalError) as error:  # a full disk, a lock
        say(f"error: {error}. Run the same command again to resume.", file=sys.stderr)
        return BROKEN
    except sqlite3.Error as error:
        say(f"error: the journal is corrupted: {error}. {WAYS_OUT}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("Stopped. Servers finish their current clips; run the same command to resume.", file=sys.stderr)
        return STOPPED
    except Exception:  # the exit code 1 of Python itself would say that clips failed
        traceback.print_exc()
        return BROKEN


# run ------------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    """Run a batch, or with `--dry-run` only check it."""
    workflow, manifest = load_workflow(options.workflow), read_manifest(options.manifest, options.root)
    if not options.dry_run and not options.start_over and options.out.is_dir():
        with only_one(options.out):
            _refuse_unknown(options.out)  # before servers are asked, which may take long
    info, silent = _ask(options, workflow.types()) if options.server else ({}, [])
    plan = make_plan(workflow, manifest, info)
    for line in silent:
        say(line, file=sys.stderr)
    if options.dry_run:
        return _check(plan, options)
    if bool(options.server) == bool(options.ray):
        raise BatchError("Give the servers: --server URL, as often as needed, or --ray for a cluster.")
    options.out.mkdir(parents=True, exist_ok=True)
    with only_one(options.out), contextlib.ExitStack() as opened:
        if options.start_over and (aside := move_aside(options.out)):
            say(f"What was in {options.out} lies in {aside} now.", file=sys.stderr)
        _refuse_unknown(options.out)
        folder = OutputFolder(options.out)
        journal = opened.enter_context(contextlib.closing(Journal(options.out)))
        known = {clip.name for clip in journal.clips()}
        counts = journal.counts()
        counts["queued"] += sum(job.name not in known for job in plan.jobs)
        tally = Tally(counts)
        style = JsonLines if options.json else Panel if sys.stdout.isatty() else Lines
        display = style(tally, sys.stdout)

        def emit(kind: str, **data: Any) -> None:
            tally.take(kind, data)
            display.event(kind, data)

        try:
            if options.ray:
                _run_on_ray(plan, journal, folder, emit, options)
            else:
                asyncio.run(_run(plan, journal, folder, emit, options, display))
        finally:
            display.close()
            folder.clean()
            report = write_report(options.out, journal)
        return _summary(journal, report, options)


def _refuse_unknown(out: Path) -> None:
    """Refuse a folder with clips that its journal does not list: they are somebody's."""
    OutputFolder(out).refuse_unknown(Journal.known_clips(out))


async def _run(
    plan: Plan,
    journal: Journal,
    folder: OutputFolder,
    emit: Emit,
    options: argparse.Namespace,
    display: JsonLines | Panel | Lines,
) -> None:
    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            display.tick()

    ticking = asyncio.create_task(tick())
    try:
        settings = Options(options.queue, options.lost_after, options.give_up_after, options.answer_within)
        await Batch(plan, journal, folder, emit, settings).run(options.server)
    finally:
        ticking.cancel()


def _run_on_ray(plan: Plan, journal: Journal, folder: OutputFolder, emit: Emit, options: argparse.Namespace) -> None:
    from .ray_cluster import RayOptions, run_on_ray

    if options.comfyui is None:
        raise BatchError("--ray needs --comfyui DIR: ComfyUI's folder on every machine of the cluster.")
    settings = RayOptions(
        address=None if options.ray == "local" else options.ray,
        comfyui=str(options.comfyui),
        workers=options.workers,
        gpus=options.gpus_per_worker,
        base=options.base_directory,
        arguments=tuple(options.comfyui_argument),
    )
    run_on_ray(plan, journal, folder, emit, settings)


def _ask(options: argparse.Namespace, types: set[str]) -> tuple[dict[str, Any], list[str]]:
    return asyncio.run(check_servers(options.server, types, options.answer_within))


def _check(plan: Plan, options: argparse.Namespace) -> int:
    """Say what a run would do; changes nothing."""
    broken = [job for job in plan.jobs if job.problem]
    if options.json:
        clips = [{"clip": job.name, "where": job.where, "problem": job.problem} for job in plan.jobs]
        print(json.dumps({"clips": len(clips), "broken": len(broken), "rows": clips}))
    else:
        for job in broken:
            say(f"{job.where}: {job.name}: {job.problem}")
        checked = "" if options.server else " No server was asked: numbers and choices are unchecked."
        print(f"{len(plan.jobs)} clips, {len(broken)} of them broken.{checked}")
    return SOME_FAILED if broken else OK


def _summary(journal: Journal, report: Path, options: argparse.Namespace) -> int:
    counts, failed = journal.counts(), journal.clips(FAILED)
    if options.json:
        errors = {clip.name: clip.error for clip in failed}
        print(json.dumps({"event": "summary", "counts": counts, "errors": errors, "report": str(report)}))
    else:
        print(f"{counts[DONE]} done, {len(failed)} failed. Report: {report}")
        for clip in failed[:_ERRORS_SHOWN]:
            say(f"- {clip.name}: {(clip.error or '').splitlines()[0]}")
        if len(failed) > _ERRORS_SHOWN:
            print(f"- and {len(failed) - _ERRORS_SHOWN} more, in the report")
    return OK if counts[DONE] == sum(counts.values()) else SOME_FAILED


# status, retry, report ------------------------------------------------------------------------------------------


def status(options: argparse.Namespace) -> int:
    """Tell what a journal holds."""
    with contextlib.closing(Journal(options.out, create=False)) as journal:
        counts, clips = journal.counts(), journal.clips()
    if options.json:
        rows = [
            {
                "clip": clip.name, "state": clip.state, "server": clip.server, "prompt_id": clip.prompt_id,
                "seed": clip.seed, "attempts": clip.attempts, "seconds": seconds_of(clip), "outputs": clip.outputs,
                "coverage_percent": coverage_of(clip), "error": clip.error,
            }
            for clip in clips
        ]  # fmt: skip
        print(json.dumps({"counts": counts, "clips": rows}))
    else:
        print(", ".join(f"{count} {state}" for state, count in counts.items()))
        for clip in clips:
            if clip.state == FAILED or options.all:
                say(f"- {clip.name}: {clip.state} {(clip.error or '').partition(chr(10))[0]}".rstrip())
    return SOME_FAILED if counts[FAILED] else OK


def retry(options: argparse.Namespace) -> int:
    """Queue failed clips anew, for the next run."""
    if not options.out.is_dir():
        raise BatchError(f"There is no folder {options.out}.")
    with only_one(options.out), contextlib.closing(Journal(options.out, create=False)) as journal:
        names = journal.retry(options.clip or None)
    print(f"{len(names)} clips are queued again; `run` takes them up.")
    return OK


def report(options: argparse.Namespace) -> int:
    """Write the report anew."""
    with contextlib.closing(Journal(options.out, create=False)) as journal:
        print(write_report(options.out, journal))
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program()} batch", description="Many clips through ComfyUI's API, resumably."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run_ = commands.add_parser("run", help="run a manifest, or resume it", description=run.__doc__)
    run_.set_defaults(command=run)
    run_.add_argument("manifest", type=Path, help="JSON, JSONL or CSV; EgoX's meta.json; or a folder of takes")
    run_.add_argument("--workflow", type=Path, required=True, help="a workflow in API format")
    run_.add_argument("--server", type=_url, action="append", default=[], metavar="URL", help="a ComfyUI; repeatable")
    run_.add_argument("--out", type=Path, required=True, metavar="DIR", help="journal, outputs and report go here")
    run_.add_argument("--dry-run", action="store_true", help="check everything, queue nothing")
    run_.add_argument(
        "--start-over", action="store_true",
        help="move what an earlier run left in DIR aside, into DIR/replaced-N, and begin anew",
    )  # fmt: skip
    run_.add_argument(
        "--root", type=Path, metavar="DIR",
        help="send only files of this folder: for manifests of other people (default: any file that you can read)",
    )  # fmt: skip
    run_.add_argument("--json", action="store_true", help="print every event as a JSON line")
    run_.add_argument(
        "--queue", type=_count, default=2, metavar="N", help="clips queued on each server at a time (default: 2)"
    )
    run_.add_argument(
        "--lost-after", type=float, default=120, metavar="SECONDS",
        help="silence after which a server's clips go to others (default: 120)",
    )  # fmt: skip
    run_.add_argument(
        "--give-up-after", type=float, default=900, metavar="SECONDS",
        help="silence of all servers after which the run ends (default: 900)",
    )  # fmt: skip
    run_.add_argument(
        "--answer-within", type=_seconds, default=60, metavar="SECONDS",
        help="silence after which an answer counts as none, and time until a clip fails whose answers are wrong "
        "(default: 60)",
    )  # fmt: skip
    ray = run_.add_argument_group("on a Ray cluster, in place of --server")
    ray.add_argument("--ray", nargs="?", const="local", metavar="ADDRESS", help="Ray's address; none: this machine")
    ray.add_argument("--comfyui", type=Path, metavar="DIR", help="ComfyUI's folder on every machine")
    ray.add_argument("--workers", type=_count, default=1, metavar="N", help="headless ComfyUIs to start (default: 1)")
    ray.add_argument("--gpus-per-worker", type=float, default=1, metavar="N", help="0 for the CPU (default: 1)")
    ray.add_argument("--base-directory", metavar="DIR", help="ComfyUI's --base-directory on every machine")
    ray.add_argument(
        "--comfyui-argument", action="append", default=[], metavar="ARG", help="further options for ComfyUI"
    )

    for command, text in ((status, "count the clips by state"), (retry, "queue failed clips again"),
                          (report, "write the report again")):  # fmt: skip
        sub = commands.add_parser(command.__name__, help=text, description=command.__doc__)
        sub.set_defaults(command=command)
        sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the batch")
        if command is status:
            sub.add_argument("--json", action="store_true", help="all clips as one JSON object")
            sub.add_argument("--all", action="store_true", help="list all clips, not only the failed ones")
        if command is retry:
            sub.add_argument("clip", nargs="*", help="names of failed clips (default: all)")
    return parser


def _url(text: str) -> ServerAddress:
    try:
        return ServerAddress(text)  # one server, one name in the journal, and no password there
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value
