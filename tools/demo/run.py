"""Run the whole EgoX graph once, in a real ComfyUI over its HTTP API.

    make demo                                   a small procedural scene, tiny random stand-in models
    make demo TAKE=DIR                          a take folder; TAKE=DIR#NAME for one take of EgoX's dataset layout
    make demo TAKE=DIR BACKGROUND=per_frame     every frame's own points, as EgoX's film clips
    make demo TAKE=DIR BACKGROUND=mean          the mean of all frames alone, as EgoX's Ego-Exo4D takes
    make demo MODELS=DIR                        real weights from a ComfyUI models folder
    make demo STEPS=8

Leaves in output/: ego_prior.mp4, ego.mp4, contact_sheet.png, report.json and comfyui.log.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment
from tqdm import tqdm

import pack
from demo import graph as graphs
from demo import models

pack.register()

from demo.report import coverage, score_prior, seen_by_both, versions  # noqa: E402
from exo2ego.commands.comfyui import headless  # noqa: E402
from exo2ego.commands.comfyui.blocking import ComfyClient, Progress, Run  # noqa: E402
from exo2ego.commands.comfyui.errors import ComfyError  # noqa: E402

if TYPE_CHECKING:
    from exo2ego.takes.take import Take

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 49
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
RESULTS = ("ego_prior.mp4", "ego.mp4", "contact_sheet.png", "report.json", "comfyui.log")
_BAR_FORMAT = "{desc} {bar:30} {n_fmt:>5}/{total_fmt} [{elapsed}]"
LARGEST_UPLOAD_MB = "4096"  # depth maps of a long clip


@dataclass(frozen=True)
class Job:
    """What the demo is asked to do."""

    output: Path
    take: str | None = None
    background: str | None = None
    models: Path | None = None
    steps: int | None = None
    frames: int = FRAMES

    @property
    def sampling_steps(self) -> int | None:
        """Steps to set; `None` keeps the workflow's."""
        return self.steps or (None if self.models else STAND_IN_STEPS)


def main() -> None:
    """Read the command line and run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the server is stopped
    try:
        run_demo(_job_of_arguments())
    except (ValueError, ComfyError) as error:
        sys.exit(f"[demo] {error}")
    except KeyboardInterrupt:
        sys.exit("[demo] stopped")


def run_demo(job: Job) -> None:
    """Run the job and leave its results in its output folder.

    Raises:
        ValueError: if the take or the models are not usable; then no server was started.
        ComfyError: if ComfyUI does not come up or refuses the graph, or a node fails.
    """
    job.output.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        (job.output / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="exo2ego-demo-") as folder:
        work = Path(folder)
        names = models.find_models(job.models) if job.models else models.write_stand_ins(work / "comfyui" / "models")
        if not job.models:
            say(STAND_IN_NOTICE)
        take, files, edit = example(work, job) if job.take is None else given_take(job)
        with _server(work, job) as server, ComfyClient(server.url) as client:
            try:
                _sample_and_report(job, take, files, edit, names, client)
            finally:
                shutil.copyfile(server.log, job.output / "comfyui.log")
    say(f"done: {', '.join(RESULTS)} in {job.output}")


# Where the clip comes from --------------------------------------------------------------------------------------

Upload = tuple[Path, str]  # a file, and the folder below ComfyUI's input folder that it goes to
Edit = Callable[[graphs.Graph], graphs.Graph]


def example(work: Path, job: Job) -> tuple[Take, list[Upload], Edit]:
    """Make the procedural scene and put it to the graph as an artist's own clip, with depth and camera as files."""
    from exo2ego.takes.egox.write import DEPTH_FILE, EGO_CAMERA_FILE, write_take
    from exo2ego.takes.example.room import EXO_FOV, PROMPT_PARTS, example_take

    with closing(Bars()) as bars:
        take = example_take(job.frames, progress=lambda done, total: bars.show("Example room", done, total))
    folder = work / "example_room"
    write_take(take, folder)

    def edit(graph: graphs.Graph) -> graphs.Graph:
        graph = graphs.with_inputs(graph, graphs.EXO_VIDEO, file=f"{folder.name}/exo.mp4")
        graph = graphs.with_inputs(graph, graphs.FIRST_FRAMES, length=job.frames)
        # The file takes the place of a depth model's pictures, and the known angle that of its estimate.
        graph = graphs.with_inputs(
            graph, graphs.METRIC_DEPTH, file=f"{folder.name}/{DEPTH_FILE}", meaning="metric depth", images=None
        )
        graph = graphs.with_inputs(graph, graphs.EXO_CAMERA, lens="pinhole", fov=EXO_FOV)
        graph = graphs.with_inputs(graph, graphs.EGO_CAMERA, file=f"{folder.name}/{EGO_CAMERA_FILE}")
        return graphs.with_inputs(graph, graphs.PROMPT, **PROMPT_PARTS)

    files = [(folder / name, folder.name) for name in ("exo.mp4", DEPTH_FILE, EGO_CAMERA_FILE)]
    return take, files, edit


def given_take(job: Job) -> tuple[Take, list[Upload], Edit]:
    """Read a take here, for its truth and for early errors, and name the files that the graph needs of it."""
    from exo2ego.takes.egox.read import files_of_take, read_dataset_take, read_take
    from exo2ego.takes.files import resolve_named

    path = Path(job.take or "").expanduser().resolve()
    try:
        folder, take_name = resolve_named(path.anchor, str(path))
    except ValueError as error:
        raise ValueError(f"There is no take {job.take!r}. Give a take folder, or DATASET#NAME.") from error
    with closing(Bars()) as bars:
        options = {"max_frames": job.frames, "progress": lambda done, total: bars.show("Take", done, total)}
        take = read_dataset_take(folder, take_name, **options) if take_name else read_take(folder, **options)
    found = files_of_take(folder, take_name)
    files = [(path, (Path(folder.name) / path.relative_to(folder).parent).as_posix()) for path in found]
    value = f"{folder.name}#{take_name}" if take_name else folder.name

    def edit(graph: graphs.Graph) -> graphs.Graph:
        return graphs.with_inputs(graph, graphs.TAKE, take=value, max_frames=job.frames)

    return take, files, edit


# The run --------------------------------------------------------------------------------------------------------


def _server(work: Path, job: Job) -> Any:
    """Return the context of a ComfyUI that finds the models."""
    paths = None
    if job.models:
        paths = work / "extra_model_paths.yaml"
        models.write_model_paths(job.models, paths)
    say("starting ComfyUI")
    return headless.running(
        environment.prepare().comfyui,
        work / "comfyui",
        [*environment.device_arguments(), "--max-upload-size", LARGEST_UPLOAD_MB],
        custom_nodes=[] if job.models else [models.STAND_IN_NODES],
        extra_model_paths=paths,
    )


def _sample_and_report(
    job: Job, take: Take, files: list[Upload], edit: Edit, names: dict[str, str], client: ComfyClient
) -> None:
    path = graphs.CLIP_WORKFLOW if job.take is None else graphs.TAKE_WORKFLOW
    graph = graphs.with_models(edit(graphs.load_graph(path)), names, stand_ins=job.models is None)
    if job.background:
        graph = graphs.with_inputs(graph, graphs.POINT_CLOUD, **BACKGROUNDS[job.background])
    if job.sampling_steps:
        graph = graphs.with_inputs(graph, graphs.SAMPLER, steps=job.sampling_steps)
    for file, folder in files:
        client.upload(file, folder)
    say(f"uploaded {len(files)} files; running {path.relative_to(ROOT)}")
    start = time.monotonic()
    with closing(Bars()) as bars:
        run = client.run(graph, bars.follow)
    seconds = time.monotonic() - start
    for title, name in ((graphs.SAVE_PRIOR, "ego_prior.mp4"), (graphs.SAVE_EGO, "ego.mp4")):
        (file,) = run.files(graphs.node_id(graph, title))
        _write(job.output / name, client.fetch(file))
    report = {
        "take": take.name,
        "workflow": path.relative_to(ROOT).as_posix(),
        "frames": take.n_frames,
        "background": job.background or "as in the workflow",
        "weights": _weights(job, names),
        "steps": graph[graphs.node_id(graph, graphs.SAMPLER)]["inputs"]["steps"],
        "versions": versions(client.get("/system_stats")),
        "seconds": {"total": round(seconds, 2), **{title: round(value, 2) for title, value in run.seconds.items()}},
        **_measure(job, take, run, graph),
    }
    _write(job.output / "report.json", json.dumps(report, indent=1).encode())


def _weights(job: Job, names: dict[str, str]) -> dict[str, Any]:
    if job.models:
        return {"kind": "real", "folder": str(job.models), "files": names}
    return {"kind": models.STAND_INS, "notice": STAND_IN_NOTICE, "files": names}


def _measure(job: Job, take: Take, run: Run, graph: graphs.Graph) -> dict[str, Any]:
    """Score the prior, and lay out the contact sheet."""
    from PIL import Image

    from exo2ego.nodes.drawings.contact_sheet import contact_sheet
    from exo2ego.takes.video import read_video

    prior, ego = (read_video(job.output / name)[0] for name in ("ego_prior.mp4", "ego.mp4"))
    share = coverage(run.outputs[graphs.node_id(graph, graphs.EGO_PRIOR)]["coverage_percent"])
    shared = seen_by_both(take) if job.take is None else None
    scores = score_prior(prior, take.ego_truth, take.ego_prior, shared)
    ego_label = "ego video" if job.models else "ego video (random stand-in weights: noise)"
    sheet = contact_sheet(
        [
            ("exo video", take.exo),
            (f"ego prior ({share['mean']:.0f}% covered)", prior),
            (ego_label, ego),
            ("true ego view", take.ego_truth),
        ]
    )
    picture = Image.fromarray((sheet[0] * 255).round().byte().numpy())
    _write_with(job.output / "contact_sheet.png", picture.save)
    say(f"coverage {share['mean']:.1f}% on average, {share['lowest']:.1f}% at least; prior: {json.dumps(scores)}")
    return {"coverage_percent": share, "prior": scores}


# Talking and writing --------------------------------------------------------------------------------------------


class Bars:
    """One progress bar a node, each closed when the next begins."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._title = ""

    def follow(self, progress: Progress) -> None:
        """Show where a run stands."""
        self.show(progress.title, progress.done, progress.total)

    def show(self, title: str, done: float, total: float) -> None:
        """Show `done` of `total` under a title."""
        if self._bar is None or title != self._title:
            self.close()
            self._bar, self._title = tqdm(desc=f"{title:<28.28}", total=1, bar_format=_BAR_FORMAT), title
        if total:
            self._bar.total, self._bar.n = total, done
            self._bar.refresh()

    def close(self) -> None:
        """Fill and close the bar."""
        if self._bar is not None:
            self._bar.n = self._bar.total
            self._bar.refresh()
            self._bar.close()
            self._bar = None


def say(text: str) -> None:
    """Print a line of progress."""
    tqdm.write(f"[demo] {text}", file=sys.stderr)


def _write(path: Path, content: bytes) -> None:
    _write_with(path, lambda unfinished: unfinished.write_bytes(content))


def _write_with(path: Path, write: Callable[[Path], Any]) -> None:
    from exo2ego.common.whole_file import whole_file

    with whole_file(path) as unfinished:
        write(unfinished)


def _job_of_arguments() -> Job:
    parser = argparse.ArgumentParser(description="Run the whole EgoX graph once in a real ComfyUI.")
    parser.add_argument("--take", help="take folder, or DATASET#NAME (default: the procedural scene)")
    parser.add_argument("--background", choices=tuple(BACKGROUNDS), help="default: as in the workflow")
    parser.add_argument("--models", type=Path, help="ComfyUI models folder with real weights")
    parser.add_argument("--steps", type=int, help="sampling steps (default: 2 for stand-ins, else the workflow's)")
    parser.add_argument("--frames", type=int, default=FRAMES, help="frames, one more than a multiple of 4")
    parser.add_argument("--output", type=Path, default=ROOT / "output")
    return Job(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
