"""What the demo is asked to do."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import graph as graphs

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 49  # of EgoX; the pocket model's workflow has a number of its own
POCKET_HEIGHT = 128
EGOX, EXO2EGOSYN = METHODS = ("egox", "exo2egosyn")
POCKET_NOTICE = (
    "The model is the POCKET MODEL, a small one of our own that was trained on random rooms like the example room. It "
    "shows the method; it is not EgoX. Give MODELS=DIR with the real weights for that."
)
SYN_NOTICE = (
    "The model is the POCKET MODEL with small components of Exo2EgoSyn, which our own trainer trained on one kitchen, "
    "that of the example room in other colors. It shows how the method's parts work together; it is not the authors' "
    "model, who have published none, and it knows that kitchen alone."
)
# What a background asked for sets on the point cloud; without one the workflow's own settings stay: the mean of what
# stands still, and what moves on top unless the take is one of Ego-Exo4D.
BACKGROUNDS: dict[str, dict[str, Any]] = {
    "mean": {"background": "mean", "moving_parts": "none", "keep_moving": False},
    "per_frame": {"background": "per frame"},
}
STAND_IN_STEPS = 2
STAND_IN_NOTICE = (
    "The weights are TINY RANDOM STAND-INS and the steps are reduced: ego.mp4 is noise by nature. It shows that the "
    "graph runs, not what EgoX can do. Give MODELS=DIR with the real weights for that. The ego prior is real."
)


@dataclass(frozen=True)
class Job:
    """What the demo is asked to do."""

    output: Path
    take: str | None = None
    background: str | None = None
    models: Path | None = None
    stand_ins: bool = False
    steps: int | None = None
    frames: int | None = None
    method: str = EGOX

    def __post_init__(self) -> None:
        given = [self.take, self.background, self.models]
        if self.is_syn and (any(value is not None for value in given) or self.stand_ins):
            raise ValueError(
                "METHOD=exo2egosyn runs the pocket model on the example room: leave TAKE, BACKGROUND, MODELS and "
                "STAND_INS out, or use the workflow exo2egosyn with files of your own."
            )

    @property
    def is_syn(self) -> bool:
        """Whether the method is Exo2EgoSyn."""
        return self.method == EXO2EGOSYN

    @property
    def is_pocket(self) -> bool:
        """Whether the pocket model is run, rather than EgoX."""
        return self.models is None and not self.stand_ins

    @property
    def sampling_steps(self) -> int | None:
        """Steps to set; `None` keeps the workflow's."""
        return self.steps or (STAND_IN_STEPS if self.stand_ins else None)

    @property
    def workflow(self) -> Path:
        """The workflow that is run."""
        if self.is_pocket:
            return graphs.POCKET_SYN_WORKFLOW if self.is_syn else graphs.POCKET_WORKFLOW
        return graphs.CLIP_WORKFLOW if self.take is None else graphs.TAKE_WORKFLOW

    @property
    def n_frames(self) -> int:
        """Frames of the clip."""
        if self.frames is not None:
            return self.frames
        graph = graphs.load_graph(self.workflow)
        name = "frames" if self.is_syn else "max_frames"
        return graph[graphs.node_id(graph, graphs.TAKE)]["inputs"][name] if self.is_pocket else FRAMES

    @property
    def notice(self) -> str:
        """What people should know of the weights."""
        if self.is_syn:
            return SYN_NOTICE
        return POCKET_NOTICE if self.is_pocket else STAND_IN_NOTICE if self.stand_ins else ""


def job_of_arguments() -> Job:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make an ego video once in a real ComfyUI.")
    parser.add_argument("--method", choices=METHODS, default=EGOX, help="whose graph (default: egox)")
    parser.add_argument("--take", help="take folder, or DATASET#NAME (default: the procedural scene)")
    parser.add_argument("--background", choices=tuple(BACKGROUNDS), help="default: as in the workflow")
    parser.add_argument("--models", type=Path, help="ComfyUI models folder with real weights")
    parser.add_argument("--stand-ins", action="store_true", help="the whole EgoX graph with tiny random models")
    parser.add_argument("--steps", type=int, help="sampling steps (default: 2 for stand-ins, else the workflow's)")
    parser.add_argument("--frames", type=int, help="one more than a multiple of 4 (default: 49, or the pocket's own)")
    parser.add_argument("--output", type=Path, default=ROOT / "output")
    return Job(**vars(parser.parse_args()))
