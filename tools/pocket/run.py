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
import time
from pathlib import Path

import environment

import pack

pack.register()

from exo2ego.training.pocket import stages  # noqa: E402

STAGES = {
    "rooms": stages.make_rooms,
    "vae": stages.train_vae,
    "clips": stages.make_clips,
    "transformer": stages.train_transformer,
    "export": stages.export,
}


def main() -> None:
    """Run the stages that the command line names, in their order."""
    plan, parser = stages.PocketPlan, argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; all of them without one")
    parser.add_argument(
        "--folder", type=Path, default=environment.cache_root() / "pocket", help="where everything lies"
    )
    parser.add_argument("--shards", type=int, default=plan.n_shards, help="of rooms, the first one is held out")
    parser.add_argument("--vae-steps", type=int, default=plan.vae_steps, help="of the VAE's training")
    parser.add_argument(
        "--encoder-steps", type=int, default=plan.encoder_steps, help="of these, after which the encoder stays"
    )
    parser.add_argument("--steps", type=int, default=plan.steps, help="of the transformer's training")
    parser.add_argument("--batch", type=int, default=plan.batch, help="clips a step")
    parser.add_argument("--device", default=plan.device, help="where both are trained: cpu or cuda")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which a training is left")
    given = parser.parse_args()
    if unknown := sorted(set(given.stages) - set(STAGES)):
        parser.error(f"there is no stage {unknown[0]}: choose of {', '.join(STAGES)}")
    plan = stages.PocketPlan(
        folder=given.folder,
        n_shards=given.shards,
        vae_steps=given.vae_steps,
        encoder_steps=given.encoder_steps,
        steps=given.steps,
        batch=given.batch,
        device=given.device,
        until=time.time() + 60 * given.minutes,
    )
    for name, stage in STAGES.items():
        if not given.stages or name in given.stages:
            print(f"== {name}", flush=True)
            done = stage(plan)
            if done is not None:
                print(done, flush=True)


if __name__ == "__main__":
    main()
