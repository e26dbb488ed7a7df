"""Make the pocket model from nothing, in stages that go on where they were left.

    make pocket                                 all stages on this machine's cores
    python tools/run.py pocket rooms clips      some of them
    python tools/run.py pocket --device cuda --minutes 12

It takes many core-hours, or some minutes of a large GPU. What there is so far lies in --folder, by default
~/.cache/comfyui-exo2ego/pocket.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import environment

import pack

pack.register()

TOOLS = Path(__file__).resolve().parents[1]

from exo2ego.training.pocket import report, retrained, stages  # noqa: E402
from exo2ego.training.pocket.plan import PocketPlan  # noqa: E402
from exo2ego.training.pocket.train_transformer import train_transformer  # noqa: E402
from exo2ego.training.pocket_syn import plan as syn  # noqa: E402
from exo2ego.training.pocket_syn import score as syn_score  # noqa: E402
from exo2ego.training.pocket_syn import stages as syn_stages  # noqa: E402

# In the order in which they are run. What several processes share, they do as so many parts.
STAGES = ("rooms", "vae", "clips", "transformer", "export", "views", "exo2egosyn", "score")
ABLATIONS = ("retrain", "retrained")  # on demand: trainings without parts of the method, and their scores
_SHARED = ("rooms", "clips", "views")


def main() -> None:
    """Run the stages that the command line names, in their order."""
    parser = _parser()
    given = parser.parse_args()
    if unknown := sorted(set(given.stages) - {*STAGES, *ABLATIONS}):
        parser.error(f"there is no stage {unknown[0]}: choose of {', '.join((*STAGES, *ABLATIONS))}")
    until = time.time() + 60 * given.minutes
    for stage in [name for name in (*STAGES, *ABLATIONS) if name in (given.stages or STAGES)]:
        print(f"== {stage}", flush=True)
        count = given.processes if stage in _SHARED and given.part is None else 1
        if count > 1:
            _in_processes(stage, count, given)
        elif (done := _run(stage, _plan(given, until), given.part or (1, 1))) is not None:
            print(done, flush=True)


def _run(stage: str, plan: syn.SynPlan, part: tuple[int, int]) -> str | None:
    pocket, show = plan.pocket, partial(print, flush=True)
    if stage == "rooms":
        stages.make_rooms(pocket, part)
    elif stage == "vae":
        stages.train_vae(pocket)
    elif stage == "clips":
        stages.make_clips(pocket, show, part)
    elif stage == "transformer":
        return train_transformer(pocket, show)
    elif stage == "views":
        syn.make_views(plan, show, part)
    elif stage == "exo2egosyn":
        return "\n".join([syn_stages.train_stages(plan, show), *map(str, syn_stages.export_components(plan))])
    elif stage == "export":
        return "\n".join(map(str, stages.export(pocket)))
    elif stage == "retrain":
        retrained.train_variants(pocket, show)
    elif stage == "retrained":
        return "\n".join(retrained.score_variants(pocket))
    else:
        return "\n".join([*report.score(pocket), *syn_score.score(plan)])
    return None


def _in_processes(stage: str, count: int, given: argparse.Namespace) -> None:
    """Run a stage in several processes of one thread each: small work on many threads costs more than it brings."""
    command = [sys.executable, str(TOOLS / "run.py"), "pocket", stage]
    for name in ("folder", "shards", "stills", "long_shards", "view_rooms", "view_stills", "device"):
        command += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    parts = [
        subprocess.Popen([*command, "--part", f"{index}/{count}"], env=surroundings) for index in range(1, count + 1)
    ]
    if any([process.wait() for process in parts]):  # all of them are waited for
        raise SystemExit(f"The stage {stage} failed: see above. The same command goes on from there.")


def _plan(given: argparse.Namespace, until: float) -> syn.SynPlan:
    pocket = PocketPlan(
        folder=given.folder,
        n_shards=given.shards,
        n_still=given.stills,
        n_long=given.long_shards,
        vae_steps=given.vae_steps,
        encoder_steps=given.encoder_steps,
        vae_batch=given.vae_batch,
        start=given.start,
        steps=given.steps,
        retrained_steps=given.retrained_steps,
        batch=given.batch,
        device=given.device,
        until=until,
    )
    return syn.SynPlan(
        pocket,
        n_rooms=given.view_rooms,
        n_stills=given.view_stills,
        steps=tuple(given.syn_steps),
        batch=tuple(given.syn_batch),
    )


def _part(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"a part is I/N, from 1/N to N/N, got {text}")
    return int(index), int(count)


def _parser() -> argparse.ArgumentParser:
    plan, views, parser = PocketPlan, syn.SynPlan, argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    cores = len(os.sched_getaffinity(0))
    folder = environment.cache_root() / "pocket"
    add = parser.add_argument
    add(
        "stages",
        nargs="*",
        metavar="STAGE",
        help=f"{', '.join(STAGES)}: all without one; {', '.join(ABLATIONS)}: ablations",
    )
    add("--folder", type=Path, default=folder, help="where everything lies")
    add("--shards", type=int, default=plan.n_shards, help=f"of rooms, the first {plan.n_held_out} are held out")
    add("--stills", type=int, default=plan.n_still, help="beside them, of rooms of one frame")
    add("--long-shards", type=int, default=plan.n_long, help="beside them, of rooms of 49 frames")
    add("--vae-steps", type=int, default=plan.vae_steps, help="of the VAE's training")
    add("--encoder-steps", type=int, default=plan.encoder_steps, help="of these, after which the encoder stays")
    add("--vae-batch", type=int, default=plan.vae_batch, help="images a step of it")
    add("--start", type=Path, help="a models folder with a pocket model at which VAE and transformer begin")
    add("--steps", type=int, default=plan.steps, help="of the transformer's training")
    add("--retrained-steps", type=int, default=plan.retrained_steps, help="of each training of the stage retrain")
    add("--batch", type=int, default=plan.batch, help="clips a step of the transformer")
    add("--view-rooms", type=int, default=views.n_rooms, help="of whole clips from several sides, for Exo2EgoSyn")
    add("--view-stills", type=int, default=views.n_stills, help="beside them, of one frame")
    add("--syn-steps", type=int, nargs=3, default=views.steps, metavar="N", help="of the stages of Exo2EgoSyn")
    add("--syn-batch", type=int, nargs=3, default=views.batch, metavar="N", help="clips a step of these")
    add("--device", default=plan.device, help="where all is trained: cpu or cuda")
    add("--minutes", type=float, default=math.inf, help="after which a training is left")
    add("--processes", type=int, default=cores, metavar="N", help=f"that share {', '.join(_SHARED)}")
    add("--part", type=_part, metavar="I/N", help="do the I-th of N parts of them in this process")
    return parser


if __name__ == "__main__":
    main()
