"""What GGA limited in blocks and steps changes: the pocket model in ComfyUI, beside GGA everywhere and nowhere.

    python tools/run.py limits                       16 rooms that it was not trained on
    python tools/run.py limits --rooms 4 --steps 8

Every run of a room has the same noise, so that differences are those of pairs. What GGA costs goes with the share of
attention calls in which it acts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import environment
import torch
from reuse.run import Runs, psnr, told  # registers the pack

from exo2ego.evaluation.intervals import interval  # isort: skip
from exo2ego.measure import random_wan  # isort: skip

_BLOCKS = 7  # of the pocket model


@dataclass(frozen=True)
class Limit:
    """Where GGA acts.

    Attributes:
        blocks: the first and the last one.
        steps: from which share of the schedule to which.
    """

    blocks: tuple[int, int] = (0, _BLOCKS - 1)
    steps: tuple[float, float] = (0.0, 1.0)

    def settings(self) -> dict[str, float]:
        """Return it as settings of GGA."""
        return {
            **{"first_block": self.blocks[0], "last_block": self.blocks[1]},
            **{"start_percent": self.steps[0], "end_percent": self.steps[1]},
        }


LIMITS = {
    "everywhere": Limit(),
    "first 4 blocks": Limit(blocks=(0, 3)),
    "last 4 blocks": Limit(blocks=(3, 6)),
    "first 2 blocks": Limit(blocks=(0, 1)),
    "first half of the steps": Limit(steps=(0.0, 0.5)),
    "second half of the steps": Limit(steps=(0.5, 1.0)),
    "first quarter of the steps": Limit(steps=(0.0, 0.25)),
    "nowhere": None,
}


@dataclass
class Found:
    """What a limit gave, room by room: luma PSNR to the true view, and to the video with GGA everywhere, dB."""

    truth: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, and print a table in Markdown that grows with every room."""
    given = _arguments()
    version = random_wan.start(torch.device("cpu"), environment.prepare().comfyui)
    print(f"pocket model, ComfyUI {version}, {given.rooms} rooms, euler, simple, {given.steps} steps, shift 8, CFG 1")
    runs, found = Runs(), {name: Found() for name in LIMITS}
    for number in range(given.first, given.first + given.rooms):
        clip, whole = runs.clip(number), None
        for name, limit in LIMITS.items():
            model = clip.unguided if limit is None else clip.guided(**limit.settings())
            video = runs.sampled(model, clip, given.steps)
            whole = video if whole is None else whole
            found[name].truth.append(psnr(video, clip.truth))
            found[name].whole.append(psnr(video, whole))
        print("\n".join(table(found)), flush=True)


def table(found: dict[str, Found]) -> list[str]:
    """Return rows in Markdown: what a limit gives, and what a room loses by it."""
    lines = ["| GGA acts in | PSNR, dB | less than everywhere, dB | beside everywhere, dB |", "|---|---|---|---|"]
    full = torch.tensor(next(iter(found.values())).truth)
    for name, values in found.items():
        mean, near = sum(values.truth) / len(full), sum(values.whole) / len(full)
        lines.append(f"| {name} | {mean:.2f} | {told(interval(full - torch.tensor(values.truth)))} | {near:.1f} |")
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=int, default=16, help="of the 25 that the pocket model was not trained on")
    parser.add_argument("--first", type=int, default=0, help="number of the first room")
    parser.add_argument("--steps", type=int, default=8)
    return parser.parse_args()


if __name__ == "__main__":
    main()
