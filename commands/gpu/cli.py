"""The command: measures this machine's card section by section and writes JSON, tables and a chart.

Exit codes: 0 all was measured; 1 some sections failed; 2 the command is wrong, or there is no card; 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

from ...common.paths import is_file, is_folder
from ...common.safe_text import say
from ...common.whole_file import whole_file
from ..program import program
from .chart import chart
from .results import Result, ResultError, kept, results_in
from .supervise import Run, UnusableError
from .table import of_result, tables

DONE, SOME_FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130
ORPHANED = 71  # of the measuring process, which nobody listens to

# The pack's folder as it stands in custom_nodes: a link is not followed, for it leads away from ComfyUI.
PACK = Path(__file__).absolute().parents[2]

# Of `measure.worker`, which this process does not import: it would load torch.
SECTIONS = {
    "correctness": "error of every back end, both passes, against float64",
    "attention": "attention alone: back ends beside stock attention, and stock attention's own kernels",
    "gradients": "forward and backward pass",
    "tiles": "tiles of the Triton kernel",
    "steps": "whole steps of a random Wan 2.1 I2V 14B",
    "memory": "peak memory of a step beside ComfyUI's and this pack's estimates",
    "prior": "rendering the ego prior",
    "vae": "Wan's VAE with random weights",
    "run": "whole runs of EgoX, 4 and 50 steps",
}
BUDGET_MINUTES = 8.0
POCKET_MINUTES = 10.0
_SHARDS_A_CORE = 1  # of random rooms: so many are there in some minutes
_LEAST_SHARDS = 4

_DESCRIPTION = (
    "Measures what GGA and EgoX cost on this machine's NVIDIA card, with random weights: no model is needed. See "
    "docs/gpu.md. Sections: " + "; ".join(f"{name} ({what})" for name, what in SECTIONS.items()) + "."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.worker:
        return _work(options.worker)
    try:
        if options.tables:
            say(tables(results_in(options.tables)))
            return DONE
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return _measure(options)
    except (UnusableError, ResultError, OSError) as error:
        say(f"error: {error}", sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on, and keeps what {options.out} holds", sys.stderr)
        return STOPPED


def _work(job: str) -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()  # before torch is loaded, which takes seconds
    from ...measure.worker import main as work

    return work(json.loads(job))


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: then nobody holds the other end of its standard input."""
    while os.read(0, 1):  # not through sys.stdin, which a waiting thread would keep locked to the end
        pass
    os._exit(ORPHANED)


def _measure(options: argparse.Namespace) -> int:
    path = options.out / "result.json"
    result = (None if options.again else kept(path)) or Result(_version(), date.today().isoformat())
    if (before := result.machine.get("device")) not in (None, options.device):
        raise ResultError(f"{path} is of another device ({before}). Give another --out, or --again to begin anew.")
    if done := [name for name in options.sections if _is_done(result, name)]:
        say(f"kept from {path}: {', '.join(done)} (--again measures them anew)")
    for name in options.sections:
        if not _is_done(result, name):
            result.sections.pop(name, None)
    write = partial(_write, options.out)
    try:
        comfyui = _comfyui(options.comfyui)
        show = partial(print, flush=True)
        Run(result, options.sections, options.device, 60 * options.budget, comfyui, write, show).measure()
    except UnusableError as error:
        raise UnusableError(_advice(str(error))) from error
    say("")
    for name in (path.name, "tables.md", "chart.svg"):
        say(str(options.out / name))
    say("Give them to others: put result.json into tools/benchmarks/results/ under the card's name (docs/gpu.md).")
    if options.pocket is not None:
        return _train_pocket(options)
    failed = [name for name in options.sections if result.sections[name].state == "failed"]
    return SOME_FAILED if failed else DONE


def _advice(why: str) -> str:
    if "no CUDA GPU" in why:
        return (
            f"{why}. This command measures an NVIDIA card: run it with the Python that runs ComfyUI on the machine "
            "that has one (nvidia-smi lists it). --device cpu is a tiny trial of the command itself."
        )
    return f"{why}. Run it with the Python that runs ComfyUI."


def _is_done(result: Result, name: str) -> bool:
    return name in result.sections and result.sections[name].state == "done"


def _write(folder: Path, result: Result) -> None:
    result.write(folder / "result.json")
    for name, text in (("tables.md", of_result(result)), ("chart.svg", chart(result))):
        with whole_file(folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def _comfyui(given: Path | None) -> Path | None:
    """Return ComfyUI's folder: as given, as COMFYUI_PATH names it, or the one around the pack.

    Raises:
        UnusableError: if a given folder is none.
    """
    named = given or (Path(os.environ["COMFYUI_PATH"]) if os.environ.get("COMFYUI_PATH") else None)
    folder = named or PACK.parent.parent
    if is_file(folder / "main.py") and is_folder(folder / "comfy"):
        return folder.absolute()
    if named is not None:
        raise UnusableError(f"{named} is not a ComfyUI folder: give the folder of its main.py by --comfyui")
    return None


def _train_pocket(options: argparse.Namespace) -> int:
    """Train the pocket model for some minutes, by the tool that makes it."""
    tool = PACK / "tools" / "run.py"
    if not is_file(tool):
        say(f"error: --pocket needs the checkout's tools, and {tool} is not there: clone the repository", sys.stderr)
        return UNUSABLE
    shards = max(_LEAST_SHARDS, _SHARDS_A_CORE * (os.cpu_count() or 1))
    stages = ["rooms", "vae", "clips", "transformer", "export", "score"]
    command = [sys.executable, str(tool), "pocket", *stages, "--device", options.device]
    command += ["--minutes", f"{options.pocket:g}", "--shards", str(shards), "--long-shards", "0"]
    say(f"\npocket model: {' '.join(command[1:])}")
    with subprocess.Popen(command) as process:
        try:
            return DONE if process.wait() == 0 else SOME_FAILED
        except KeyboardInterrupt:
            process.kill()
            raise


def _version() -> str:
    """Return the pack's version from its pyproject, or from what pip installed."""
    from importlib.metadata import PackageNotFoundError, version

    if is_file(PACK / "pyproject.toml"):
        found = re.search(r'^version = "(.+)"', (PACK / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
        return found[1] if found else ""
    try:
        return version("comfyui-exo2ego")
    except PackageNotFoundError:
        return ""


def _sections(text: str) -> list[str]:
    names = [name for name in re.split(r"[,\s]+", text) if name]
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"there is no section {unknown[0]}: choose of {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1440:
        raise argparse.ArgumentTypeError(f"expected minutes above 0, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{program()} gpu", description=_DESCRIPTION)
    add = parser.add_argument
    add("--sections", type=_sections, default=list(SECTIONS), metavar="A,B", help="some of the sections (default: all)")
    budget = f"for all sections (default: {BUDGET_MINUTES:g}); sizes are chosen from it and the card's free memory"
    add("--budget", type=_minutes, default=BUDGET_MINUTES, metavar="MINUTES", help=budget)
    folder = PACK / "output" / "gpu"
    add("--out", type=Path, default=folder, metavar="DIR", help="folder of the result; what it holds is kept")
    add("--again", action="store_true", help="measure anew what the folder holds already")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="cpu is a tiny trial of the command, no measurement")
    add("--comfyui", type=Path, metavar="DIR", help="ComfyUI's folder, with main.py; else the one this pack lies in")
    pocket = f"afterwards train the pocket model so long (default: {POCKET_MINUTES:g}); needs the extra `train`"
    add("--pocket", type=_minutes, nargs="?", const=POCKET_MINUTES, metavar="MINUTES", help=pocket)
    add("--tables", type=Path, metavar="DIR", help="print the tables of a folder's results, and measure nothing")
    add("--worker", help=argparse.SUPPRESS)
    return parser
