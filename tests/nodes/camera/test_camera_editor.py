"""Camera Editor over HTTP, without a browser: text in, camera out, and what the page gets."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace

import pytest
import torch

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_from_json, trajectory_to_json
from exo2ego.geometry.lenses import lens_from_json
from exo2ego.geometry.points.packed_cloud import unpack_cloud
from exo2ego.takes.egox.read import read_take
from support.graphs import SMALL_TAKE, Graph, api_graph, node_id, only_outputs, with_inputs, with_node

GRAPH = api_graph("ego_camera")
EDITOR, EXPORT = node_id(GRAPH, "Camera editor"), node_id(GRAPH, "Export camera")
EGO_CAMERA = [node_id(GRAPH, "Take"), 3]
TRAJECTORY = Trajectory(
    (
        Keyframe(0, (0.1, -0.2, 1.0), (1.0, 0.0, 0.0, 0.0), ease_out=1.0),
        Keyframe(2, (0.3, -0.2, 1.5), (0.98, 0.0, 0.2, 0.0)),
        Keyframe(4, (0.3, -0.1, 2.0), (0.95, 0.1, 0.3, 0.0), ease_in=0.5),
    ),
    width=64,
    height=64,
)


def editor_graph(trajectory: str = "", **inputs: object) -> Graph:
    """The shipped graph for the small take, up to the saved camera; without a camera to start from."""
    graph = with_inputs(api_graph("ego_camera"), "Take", take=SMALL_TAKE)
    graph = with_inputs(graph, "Camera editor", trajectory=trajectory, **inputs)
    if "start_camera" not in inputs:
        del graph[EDITOR]["inputs"]["start_camera"]
    return only_outputs(graph, "Camera editor", "Export camera")


@pytest.fixture
def edited(comfy_client, small_take):
    """Run the editor; returns what it sent to the page, and its camera."""

    def run(trajectory: str = "", **inputs: object) -> tuple[dict, Camera]:
        outputs = comfy_client.run(editor_graph(trajectory, **inputs))
        (answer,) = outputs.outputs[EDITOR]["exo2ego_editor"]
        (saved,) = outputs.files(EXPORT)
        return answer, Camera.from_json(comfy_client.fetch(saved).decode())

    return run


def test_the_text_is_the_camera(edited):
    answer, camera = edited(trajectory_to_json(TRAJECTORY))
    expected = TRAJECTORY.to_camera(5)
    assert float((camera.world_to_camera - expected.world_to_camera).abs().max()) <= 1e-6
    assert (camera.lens, camera.width, camera.height) == (preset_lens(LensPreset.EGOX_RELEASE, 64, 64), 64, 64)
    assert len(answer["coverage_percent"]) == 5
    assert all(1 < percent < 99 for percent in answer["coverage_percent"])
    assert answer["warning"] is None


def test_slopes_of_the_curves_count(edited):
    first, middle, last = TRAJECTORY.keyframes
    sloped = replace(middle, tangent_in=(0.2, 0.0, 0.1), turn_out=(0.0, 12.0, 3.0))
    curved = replace(TRAJECTORY, keyframes=(first, sloped, last))
    _, camera = edited(trajectory_to_json(curved))
    expected = curved.to_camera(5).world_to_camera
    assert float((camera.world_to_camera - expected).abs().max()) <= 1e-6
    assert float((TRAJECTORY.to_camera(5).world_to_camera - expected).abs().max()) > 0.01


def test_near_leaves_points_out(edited):
    answer, camera = edited(trajectory_to_json(TRAJECTORY))
    assert answer["near"] == 0
    nearer, same = edited(trajectory_to_json(TRAJECTORY), near=1.5)
    assert nearer["near"] == 1.5
    assert torch.equal(camera.world_to_camera, same.world_to_camera), "the camera does not depend on it"
    assert sum(nearer["coverage_percent"]) < 0.95 * sum(answer["coverage_percent"])


def test_what_the_page_gets(edited, comfy_client, small_take):
    answer, _ = edited(trajectory_to_json(TRAJECTORY))
    take = read_take(small_take)
    assert answer["frames"] == 5
    assert answer["start"] is None
    exo = Camera.from_json(answer["exo_camera"])
    assert (exo.width, exo.height) == (128, 64)
    assert torch.allclose(exo.world_to_camera, take.exo_camera.world_to_camera)
    for name, entry in answer["lenses"].items():
        assert lens_from_json(entry) == preset_lens(LensPreset(name), 448, 448)

    cloud = unpack_cloud(comfy_client.fetch(answer["cloud"]))
    assert answer["points"] == len(cloud.background_points) + sum(map(len, cloud.frame_points)), "few: none is left out"
    assert cloud.n_frames == 5
    assert 500 < len(cloud.background_points) < 64 * 32
    pixels, _, seen = exo.project(cloud.background_points)
    assert bool(seen.all())
    columns, rows = pixels.long().unbind(-1)
    shown = take.exo.mean(dim=0)[rows.clamp(0, 63), columns.clamp(0, 127)]
    assert float((cloud.background_colors - shown).abs().mean()) < 0.05, "points carry their pixel's colour"

    from PIL import Image

    assert [picture["frame"] for picture in answer["pictures"]] == [0, 1, 2, 3, 4]
    picture = Image.open(io.BytesIO(comfy_client.fetch(answer["pictures"][0])))
    assert (picture.format, picture.size) == ("JPEG", (128, 64))


def test_no_keyframes_no_camera(edited, small_take):
    answer, camera = edited()
    assert camera.is_fixed
    assert torch.allclose(camera.world_to_camera, read_take(small_take).exo_camera.world_to_camera)
    assert "no ego camera" in answer["warning"]


def test_a_camera_to_start_from(edited, small_take):
    answer, camera = edited(start_camera=EGO_CAMERA)
    ego = read_take(small_take).ego_camera
    assert torch.allclose(camera.world_to_camera, ego.world_to_camera), "no keyframes: as it is"
    start = trajectory_from_json(answer["start"])
    assert start.lens == ego.lens
    assert float((start.to_camera(5).centers - ego.centers).norm(dim=-1).max()) <= 0.005
    answer, camera = edited(trajectory_to_json(TRAJECTORY), start_camera=EGO_CAMERA)
    assert torch.allclose(camera.world_to_camera, TRAJECTORY.to_camera(5).world_to_camera), "keyframes count"
    assert trajectory_from_json(answer["start"]) == start


def test_a_viewers_camera_to_start_from_and_to_give(comfy_client, edited):
    """One frame out as LOAD3D_CAMERA, and in again."""
    level = Trajectory(TRAJECTORY.keyframes, LensPreset.PINHOLE, 80, 60)
    graph = editor_graph(trajectory_to_json(level))
    graph = with_inputs(graph, "Export camera", frame=3)
    graph = with_node(
        graph,
        "970",
        "Exo2EgoCameraEditor",
        "Again",
        **{**graph[EDITOR]["inputs"], "load3d_camera": [EXPORT, 0], "trajectory": ""},
    )
    (answer,) = comfy_client.run(graph).outputs["970"]["exo2ego_editor"]
    (key,) = trajectory_from_json(answer["start"]).keyframes
    expected = level.to_camera(5)[3]
    assert key.position == pytest.approx(expected.centers[0].tolist(), abs=1e-6)
    fov = 2 * torch.atan(torch.tensor(30.0) / level.lens_in_pixels.fy)
    lens = trajectory_from_json(answer["start"]).lens_in_pixels
    assert lens.fy == pytest.approx(224 / float(torch.tan(fov / 2)), rel=1e-5)


@pytest.mark.parametrize(
    ("trajectory", "match"),
    [
        ("{", "Expected a trajectory as JSON text"),
        (json.dumps({"format": "exo2ego.trajectory", "version": 7}), "version 1, got 7"),
        (json.dumps({"format": "exo2ego.trajectory", "version": 1, "keyframes": [{}]}), "lacks frame, position"),
        ("[" * 200_000, "Expected a trajectory as JSON text"),
        ("x" * 3_000_000, "at most 1,000,000 characters; got one of 3,000,000"),
        ({"format": "exo2ego.trajectory"}, "Expected a trajectory as JSON text"),
        (17, "something else"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_text_is_refused_before_anything_runs(comfy_client, small_take, trajectory, match):
    with pytest.raises(PromptRejectedError, match=match):
        comfy_client.run(editor_graph(trajectory))


@pytest.mark.parametrize(
    ("subfolder", "filename"),
    [
        ("exo2ego_editor/../../input", "secret.txt"),
        ("../input", "secret.txt"),
        ("exo2ego_editor", "../../input/secret.txt"),
        ("exo2ego_editor", "0" * 64 + ".bin"),
        ("exo2ego_editor", ""),
        ("/", "etc/hostname"),
    ],
)
def test_the_clouds_way_leads_nowhere_else(comfy_server, comfy_client, small_take, subfolder, filename):
    (comfy_server.base / "input" / "secret.txt").write_text("secret")
    query = urllib.parse.urlencode({"type": "temp", "subfolder": subfolder, "filename": filename})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{comfy_client.url}/view?{query}")
    assert 400 <= refused.value.code < 500
    assert comfy_client.get("/queue")["queue_running"] == []


def test_text_through_a_link(edited, comfy_client, small_take):
    def linked(text: str) -> Graph:
        graph = with_node(editor_graph(), "970", "PrimitiveStringMultiline", "Text", value=text)
        return with_inputs(graph, "Camera editor", trajectory=["970", 0])

    (saved,) = comfy_client.run(linked(trajectory_to_json(TRAJECTORY))).files(EXPORT)
    camera = Camera.from_json(comfy_client.fetch(saved).decode())
    assert torch.allclose(camera.world_to_camera, TRAJECTORY.to_camera(5).world_to_camera)
    with pytest.raises(ExecutionFailedError, match="something else"):
        comfy_client.run(linked("7"))


def test_a_long_clip_sends_few_pictures(comfy_client, small_take):
    """Points of one frame serve all of them."""
    size = {"width": 128, "height": 64, "batch_size": 60, "color": 0}
    graph = with_node(with_inputs(editor_graph(), "Take", max_frames=1), "970", "EmptyImage", "Long", **size)
    run = comfy_client.run(with_inputs(graph, "Camera editor", images=["970", 0]))
    (answer,) = run.outputs[EDITOR]["exo2ego_editor"]
    frames = [picture["frame"] for picture in answer["pictures"]]
    assert answer["frames"] == 60
    assert len(frames) == 25
    assert (frames[0], frames[-1]) == (0, 59)
    assert len({picture["filename"] for picture in answer["pictures"]}) == 1, "files are named by what they hold"


def test_what_does_not_fit_the_clip_is_refused(comfy_client, small_take):
    late = Trajectory((Keyframe(5, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),))
    with pytest.raises(ExecutionFailedError, match="keyframe at frame 5, but the clip has 5 frames"):
        comfy_client.run(editor_graph(trajectory_to_json(late)))
    graph = with_node(editor_graph(), "962", "Exo2EgoLoadTake", "Short", **editor_graph()["1"]["inputs"])
    graph = with_inputs(graph, "Short", max_frames=3)
    with pytest.raises(ExecutionFailedError, match="video has 3 frames and the points 5"):
        comfy_client.run(with_inputs(graph, "Camera editor", images=["962", 0]))


def test_editing_runs_the_editor_alone(comfy_client, small_take):
    comfy_client.run(editor_graph(trajectory_to_json(TRAJECTORY)))
    started = []
    moved = Trajectory(TRAJECTORY.keyframes[:2], width=64, height=64)
    comfy_client.run(
        editor_graph(trajectory_to_json(moved)), on_progress=lambda progress: started.append(progress.title)
    )
    assert set(started) == {"Camera editor", "Export camera"}
