"""Make an ego video once, in a real ComfyUI over its HTTP API.

    make demo                                   the example room and the pocket model that comes with the pack
    make demo TAKE=DIR                          a take folder; TAKE=DIR#NAME for one take of EgoX's dataset layout
    make demo TAKE=DIR BACKGROUND=per_frame     every frame's own points, as EgoX's film clips
    make demo TAKE=DIR BACKGROUND=mean          the mean of all frames alone, as EgoX's Ego-Exo4D takes
    make demo MODELS=DIR                        the whole EgoX graph with real weights from a ComfyUI models folder
    make demo STAND_INS=1                       the whole EgoX graph with tiny random models, to see that it runs
    make demo METHOD=exo2egosyn                 the pocket model with Exo2EgoSyn's components: two exo videos, no depth
    make demo STEPS=8

Leaves in output/: ego_prior.mp4 (not with exo2egosyn), ego.mp4, contact_sheet.png, report.json and comfyui.log.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

import pack
from demo import graph as graphs
from demo import models
from demo.job import BACKGROUNDS, POCKET_HEIGHT, ROOT, Job, job_of_arguments
from demo.results import write, write_with
from demo.talk import Bars, say

pack.register()

from demo.report import coverage, score_ego, score_prior, seen_by_both, versions  # noqa: E402
from demo.syn import check_components, run_syn  # noqa: E402
from exo2ego.commands.comfyui import headless  # noqa: E402
from exo2ego.commands.comfyui.blocking import ComfyClient, Run  # noqa: E402
from exo2ego.commands.comfyui.errors import ComfyError  # noqa: E402

if TYPE_CHECKING:
    from exo2ego.takes.take import Take

RESULTS = ("ego_prior.mp4", "ego.mp4", "contact_sheet.png", "report.json", "comfyui.log")
LARGEST_UPLOAD_MB = "4096"  # depth maps of a long clip


def main() -> None:
    """Read the command line and run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the server is stopped
    try:
        run_demo(job_of_arguments())
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
    if job.is_syn:
        check_components()
    with tempfile.TemporaryDirectory(prefix="exo2ego-demo-") as folder:
        work = Path(folder)
        names = _models(work, job)
        if job.notice:
            say(job.notice)
        if job.is_syn:
            with _server(work, job) as server, ComfyClient(server.url) as client:
                try:
                    run_syn(job, client)
                finally:
                    shutil.copyfile(server.log, job.output / "comfyui.log")
            return
        if job.take is not None:
            take, files, edit = given_take(job)
        else:
            take, files, edit = pocket_example(job) if job.is_pocket else example(work, job)
        with _server(work, job) as server, ComfyClient(server.url) as client:
            try:
                _sample_and_report(job, take, files, edit, names, client)
            finally:
                shutil.copyfile(server.log, job.output / "comfyui.log")
    say(f"done: {', '.join(RESULTS)} in {job.output}")


# Where the clip comes from --------------------------------------------------------------------------------------

Upload = tuple[Path, str]  # a file, and the folder below ComfyUI's input folder that it goes to
Edit = Callable[[graphs.Graph], graphs.Graph]


def pocket_example(job: Job) -> tuple[Take, list[Upload], Edit]:
    """Make the procedural scene in the pocket model's size, for its truth: the node makes it again by itself."""
    from exo2ego.takes.library import TAKES

    with closing(Bars()) as bars:
        take = TAKES.load(
            ROOT,
            TAKES.built_in or "",
            max_frames=job.n_frames,
            height=POCKET_HEIGHT,
            progress=lambda done, total: bars.show("Example room", done, total),
        )
    return take, [], lambda graph: graphs.with_inputs(graph, graphs.TAKE, max_frames=job.n_frames)


def example(work: Path, job: Job) -> tuple[Take, list[Upload], Edit]:
    """Make the procedural scene and put it to the graph as an artist's own clip, with depth and camera as files."""
    from exo2ego.geometry.cameras.trajectory import Trajectory
    from exo2ego.geometry.cameras.trajectory_json import trajectory_to_json
    from exo2ego.takes.egox.write import DEPTH_FILE, write_take
    from exo2ego.takes.example.room import EXO_FOV, PROMPT_PARTS, example_take

    with closing(Bars()) as bars:
        take = example_take(job.n_frames, progress=lambda done, total: bars.show("Example room", done, total))
    folder = work / "example_room"
    write_take(take, folder)

    def edit(graph: graphs.Graph) -> graphs.Graph:
        clip = {"file": f"{folder.name}/exo.mp4", "frames": job.n_frames, "frame_rate": 0}
        graph = graphs.with_inputs(graph, graphs.EXO_VIDEO, **clip)
        # The file takes the place of a depth model's pictures, the known angle that of its estimate, and the known
        # path that of what a pose estimator would find.
        graph = graphs.with_inputs(
            graph, graphs.METRIC_DEPTH, file=f"{folder.name}/{DEPTH_FILE}", meaning="metric depth", images=None
        )
        graph = graphs.with_inputs(graph, graphs.EXO_CAMERA, lens="pinhole", known_fov=EXO_FOV, fov=EXO_FOV)
        path = trajectory_to_json(Trajectory.from_camera(take.ego_camera))
        graph = graphs.with_inputs(graph, graphs.CAMERA_EDITOR, trajectory=path, start_camera=None)
        return graphs.with_inputs(graph, graphs.PROMPT, **PROMPT_PARTS)

    files = [(folder / name, folder.name) for name in ("exo.mp4", DEPTH_FILE)]
    return take, files, edit


def given_take(job: Job) -> tuple[Take, list[Upload], Edit]:
    """Read a take here, for its truth and for early errors, and name the files that the graph needs of it."""
    from exo2ego.takes.egox.read import files_of_take, read_dataset_take, read_take
    from exo2ego.takes.files import resolve_named
    from exo2ego.takes.resize import resized_take

    path = Path(job.take or "").expanduser().resolve()
    try:
        folder, take_name = resolve_named(path.anchor, str(path))
    except ValueError as error:
        raise ValueError(f"There is no take {job.take!r}. Give a take folder, or DATASET#NAME.") from error
    with closing(Bars()) as bars:
        options = {"max_frames": job.n_frames, "progress": lambda done, total: bars.show("Take", done, total)}
        take = read_dataset_take(folder, take_name, **options) if take_name else read_take(folder, **options)
    if job.is_pocket:
        take = resized_take(take, POCKET_HEIGHT)
    found = files_of_take(folder, take_name)
    files = [(path, (Path(folder.name) / path.relative_to(folder).parent).as_posix()) for path in found]
    value = f"{folder.name}#{take_name}" if take_name else folder.name

    def edit(graph: graphs.Graph) -> graphs.Graph:
        return graphs.with_inputs(graph, graphs.TAKE, take=value, max_frames=job.n_frames)

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
        custom_nodes=[models.STAND_IN_NODES] if job.stand_ins else [],
        extra_model_paths=paths,
    )


def _sample_and_report(
    job: Job, take: Take, files: list[Upload], edit: Edit, names: dict[str, str], client: ComfyClient
) -> None:
    path, graph = job.workflow, edit(graphs.load_graph(job.workflow))
    if not job.is_pocket:
        graph = graphs.with_models(graph, names, stand_ins=job.stand_ins)
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
        write(job.output / name, client.fetch(file))
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
    write(job.output / "report.json", json.dumps(report, indent=1).encode())


def _weights(job: Job, names: dict[str, str]) -> dict[str, Any]:
    if job.models:
        return {"kind": "real", "folder": str(job.models), "files": names}
    return {"kind": models.POCKET if job.is_pocket else models.STAND_INS, "notice": job.notice, "files": names}


def _models(work: Path, job: Job) -> dict[str, str]:
    """Return file name by role; the pocket model needs none, as its node knows its files."""
    if job.is_pocket:
        return {}
    return models.find_models(job.models) if job.models else models.write_stand_ins(work / "comfyui" / "models")


def _measure(job: Job, take: Take, run: Run, graph: graphs.Graph) -> dict[str, Any]:
    """Score prior and ego video, and lay out the contact sheet."""
    from PIL import Image

    from exo2ego.nodes.drawings.contact_sheet import contact_sheet
    from exo2ego.takes.video import read_video

    prior, ego = (read_video(job.output / name)[0] for name in ("ego_prior.mp4", "ego.mp4"))
    share = coverage(run.outputs[graphs.node_id(graph, graphs.EGO_PRIOR)]["coverage_percent"])
    shared = seen_by_both(take) if job.take is None else None
    scores = score_prior(prior, take.ego_truth, take.ego_prior, shared)
    ego_scores = {} if job.stand_ins else score_ego(ego, take.ego_truth, prior)
    kind = " (pocket model)" if job.is_pocket else " (random stand-in weights: noise)" if job.stand_ins else ""
    sheet = contact_sheet(
        [
            ("exo video", take.exo),
            (f"ego prior ({share['mean']:.0f}% covered)", prior),
            (f"ego video{kind}", ego),
            *([("true ego view", take.ego_truth)] if take.ego_truth is not None else []),
        ]
    )
    picture = Image.fromarray((sheet[0] * 255).round().byte().numpy())
    write_with(job.output / "contact_sheet.png", picture.save)
    say(f"coverage {share['mean']:.1f}% on average, {share['lowest']:.1f}% at least; prior: {json.dumps(scores)}")
    for name, values in ego_scores.items():
        say(f"{name.replace('_', ' ')} against the true ego view: {json.dumps(values)}")
    return {"coverage_percent": share, "prior": scores, "result": ego_scores}


if __name__ == "__main__":
    main()
