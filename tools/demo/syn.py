"""The demo's other method: Exo2EgoSyn on the pocket model, from two exo videos of the example room."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo import graph as graphs
from demo import models
from demo.job import ROOT, Job
from demo.report import score_views, versions
from demo.results import write, write_with
from demo.talk import Bars, say
from exo2ego.networks.pocket_files import COMPONENTS, POCKET, component_file

if TYPE_CHECKING:
    from torch import Tensor

    from exo2ego.commands.comfyui.blocking import ComfyClient
    from exo2ego.takes.views import MultiViewTake


def check_components(folder: Path = POCKET) -> None:
    """Check that the pocket model's components are there.

    Args:
        folder: a models folder.

    Raises:
        ValueError: if one is not.
    """
    files = [component_file(name, folder) for name in COMPONENTS]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ValueError(
            f"{len(missing)} components of the pocket model are not in {files[0].parent}, such as {missing[0]}. They "
            "come with the pack: put its folder there anew, or train them by `make pocket`, which takes hours, and "
            "copy what its last line names there."
        )


def run_syn(job: Job, client: ComfyClient) -> None:
    """Run the workflow and leave its results in the job's output folder."""
    path = job.workflow
    graph = graphs.with_inputs(graphs.load_graph(path), graphs.TAKE, frames=job.n_frames)
    if job.sampling_steps:
        graph = graphs.with_inputs(graph, graphs.SAMPLER, steps=job.sampling_steps)
    take = _example(graph)
    say(f"running {path.relative_to(ROOT)}")
    start = time.monotonic()
    with closing(Bars()) as bars:
        run = client.run(graph, bars.follow)
    seconds = time.monotonic() - start
    (file,) = run.files(graphs.node_id(graph, graphs.SAVE_EGO))
    write(job.output / "ego.mp4", client.fetch(file))
    report = {
        "take": take.name,
        "workflow": path.relative_to(ROOT).as_posix(),
        "frames": take.n_frames,
        "weights": {"kind": models.POCKET, "notice": job.notice, "files": {}},
        "steps": graph[graphs.node_id(graph, graphs.SAMPLER)]["inputs"]["steps"],
        "versions": versions(client.get("/system_stats")),
        "seconds": {"total": round(seconds, 2), **{title: round(value, 2) for title, value in run.seconds.items()}},
        **_measure(job, take, graph),
    }
    write(job.output / "report.json", json.dumps(report, indent=1).encode())
    say(f"done: ego.mp4, contact_sheet.png, report.json, comfyui.log in {job.output}")


def _example(graph: graphs.Graph) -> MultiViewTake:
    """Make the clip that the graph's own node makes, for its truth."""
    from exo2ego.takes.example.views import example_views
    from exo2ego.takes.views import Clip, EgoView

    given = graph[graphs.node_id(graph, graphs.TAKE)]["inputs"]
    clip = Clip(given["start_frame"], given["frames"], given["stride"], given["size"])
    with closing(Bars()) as bars:
        return example_views(
            clip, EgoView(given["ego_view"]), lambda done, total: bars.show("Example room", done, total)
        )


def _measure(job: Job, take: MultiViewTake, graph: graphs.Graph) -> dict[str, Any]:
    """Score the ego video beside what takes no model, and lay out the contact sheet."""
    from PIL import Image

    from exo2ego.nodes.drawings.contact_sheet import contact_sheet
    from exo2ego.takes.video import read_video

    ego = read_video(job.output / "ego.mp4")[0]
    shown = _exo_views(graph, take)
    scores = score_views(ego, take, list(shown.values()))
    sheet = contact_sheet([*shown.items(), ("ego video (pocket model)", ego), ("true ego view", take.ego)])
    picture = Image.fromarray((sheet[0] * 255).round().byte().numpy())
    write_with(job.output / "contact_sheet.png", picture.save)
    for name, values in scores.items():
        say(f"{name.replace('_', ' ')} against the true ego view: {json.dumps(values)}")
    return {"result": scores}


def _exo_views(graph: graphs.Graph, take: MultiViewTake) -> dict[str, Tensor]:
    """Return the exo videos that the graph shows the model."""
    inputs = graph[graphs.node_id(graph, graphs.EXO_VIEWS)]["inputs"]
    numbers = [number for number in range(1, len(take.exo) + 1) if f"exo_{number}" in inputs]
    return {f"exo video {number}": take.exo[number - 1].frames for number in numbers}
