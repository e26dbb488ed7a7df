"""The command: scores ego videos against the true ego views, by the papers' protocols.

Exit codes: 0 all was scored; 1 some clips or methods were not; 2 the command is wrong, or a library is missing; 130
stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.safe_text import say
from ...common.whole_file import whole_file
from ..program import program

if TYPE_CHECKING:
    from ...evaluation.evaluate import Job, Result
    from ...evaluation.networks import Networks

DONE, SOME_FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130

_DESCRIPTION = "Scores ego videos against the true ego views, by the papers' protocols: see docs/evaluation.md."
_LIBRARIES = ("av", "PIL", "numpy", "torch")  # what no measure can do without
_AUTO = "auto"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _LIBRARIES:
            raise
        say(
            f"error: evaluate needs {error.name}, which {sys.executable} does not have. Use the Python that runs "
            "ComfyUI, or install it: pip install 'comfyui-exo2ego[evaluate]'",
            sys.stderr,
        )
    except (ValueError, OSError) as error:
        say(f"error: {error}", sys.stderr)
    except KeyboardInterrupt:
        say("stopped; nothing was written but images", sys.stderr)
        return STOPPED
    return UNUSABLE


def _evaluate(options: argparse.Namespace) -> int:
    from ...evaluation.evaluate import evaluate
    from ...evaluation.report.page import Pictures
    from ...evaluation.report.vbench import VBenchVideos

    job = _job(options)
    networks = _networks(options)
    pictures = Pictures(options.out, options.pictures)
    vbench = VBenchVideos(options.out) if options.vbench else None

    def shown(videos: object) -> None:
        pictures.add(videos)
        if vbench is not None:
            vbench.add(videos)

    result = evaluate(job, networks, say=lambda line: say(line, sys.stderr), shown=shown)
    _write(options.out, result, pictures)
    if vbench is not None:
        say("\nVBench, in its own environment (dynamic_degree: EgoX's figures are with RAFT's threshold fixed to 2.0):")
        for line in vbench.commands():
            say(line)
    say(f"page: {options.out / 'index.html'}")
    return SOME_FAILED if result.failed else DONE


def _job(options: argparse.Namespace) -> Job:
    from ...evaluation.evaluate import PRIOR, TRUTH, Job
    from ...evaluation.fills import FILLS
    from ...evaluation.protocols import PROTOCOLS
    from ...evaluation.sources import read_groups, true_clips

    clips, without = true_clips(options.truth)
    for name in without:
        say(f"{name}: has no true ego view and is left out", sys.stderr)
    methods: dict[str, str] = {}
    for text in options.methods:
        name, mark, place = text.partition("=")
        if not mark or not name or not place:
            raise ValueError(f"A method is NAME=PATH, got {text!r}.")
        if name in methods or name in (PRIOR, TRUTH, *FILLS):
            raise ValueError(f"There is another method called {name!r}. Give this one a name of its own.")
        methods[name] = place
    if not methods and not options.baselines:
        raise ValueError("There is nothing to score. Name methods as NAME=PATH, or give --baselines.")
    return Job(
        clips,
        methods,
        PROTOCOLS[options.protocol],
        priors=[options.prior] if options.prior else [],
        file=options.file,
        baselines=options.baselines,
        groups=read_groups(options.groups) if options.groups else {},
        max_frames=options.max_frames,
        resamples=options.resamples,
        seed=options.seed,
    )


def _networks(options: argparse.Namespace) -> Networks:
    import torch

    from ...evaluation.networks import NETWORKS, load_networks

    wanted = list(dict.fromkeys(options.metrics.split(",")))
    if options.metrics in (_AUTO, "none"):
        names = list(NETWORKS) if options.metrics == _AUTO else []
    elif unknown := [name for name in wanted if name not in NETWORKS]:
        raise ValueError(f"There is no measure {unknown[0]!r}. --metrics takes {', '.join(NETWORKS)}, auto or none.")
    else:
        names = wanted
    device = torch.device("cuda" if torch.cuda.is_available() and not options.cpu else "cpu")
    networks = load_networks(names, options.weights, device, required=options.metrics != _AUTO)
    for name, why in networks.missing.items():
        say(f"{name} is not measured: {why}", sys.stderr)
    return networks


def _write(folder: Path, result: Result, pictures: object) -> None:
    from ...evaluation.report.page import write_page
    from ...evaluation.report.record import record
    from ...evaluation.report.tables import clips_csv, markdown, summary_csv

    text = markdown(result)
    files = {
        "scores.json": json.dumps(record(result), indent=1, allow_nan=False),
        "tables.md": text,
        "summary.csv": summary_csv(result),
        "clips.csv": clips_csv(result),
    }
    for name, content in files.items():
        with whole_file(folder / name) as unfinished:
            unfinished.write_text(content, encoding="utf-8")
    write_page(folder, result, pictures)
    print(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{program()} evaluate", description=_DESCRIPTION)
    add = parser.add_argument
    add("truth", help="a video, a take, a dataset (or DATASET#NAME), a folder of takes or of videos")
    add("methods", nargs="*", metavar="NAME=PATH", help="a method: a video, a folder of videos, or what `batch` left")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for tables, JSON and the page")
    add("--protocol", choices=("EgoX", "Exo2EgoSyn"), default="EgoX", help="how images are compared (default: EgoX)")
    add("--baselines", action="store_true", help="score the ego prior, filled with its mean color and by Telea, too")
    add("--prior", metavar="PATH", help="where ego priors lie, if neither beside the truth nor in a batch")
    add("--file", default="ego.mp4", metavar="NAME", help="a method's video in a clip's folder (default: ego.mp4)")
    add("--metrics", default=_AUTO, help="networks: lpips,st-lpips,clip-i,fvd; auto (what is there) or none")
    add("--weights", type=Path, metavar="DIR", help="folder with the networks' weights")
    add("--groups", type=Path, metavar="CSV", help="columns name and group: seen and unseen scenes, or categories")
    add("--max-frames", type=_positive, metavar="N", help="score the first N frames")
    add("--pictures", type=int, default=12, metavar="N", help="clips with images on the page (default: 12)")
    add("--vbench", action="store_true", help="write videos for VBench and print its commands")
    add("--resamples", type=_positive, default=10_000, metavar="N", help="of the intervals (default: 10000)")
    add("--seed", type=int, default=0, help="of the intervals (default: 0)")
    add("--cpu", action="store_true", help="leave a GPU alone")
    return parser
