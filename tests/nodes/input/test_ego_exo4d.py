"""Load Ego-Exo4D Take and Pluecker Maps over HTTP, on the example room and on a made-up take."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import PluckerMaps, wan_camera_embedding
from exo2ego.takes.example.views import example_views
from exo2ego.takes.views import Clip
from support import ego_exo4d_tree as made_up
from support.graphs import Graph

EXO_1, EXO_4, EXO_1_CAMERA, EXO_4_CAMERA, EGO_CAMERA, EGO = 0, 3, 4, 7, 8, 9
ROOM = "example room"


@pytest.fixture(scope="module")
def tree(comfy_server):
    """A take with three exo views in the server's input folder."""
    tree = made_up.write_tree(comfy_server.base / "input", n_video=60, n_poses=60, views=("cam01", "cam02", "cam04"))
    yield tree
    shutil.rmtree(tree.root)


def node(class_type: str, title: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def take_graph(take: str, **inputs) -> Graph:
    """The loader with its ego video previewed."""
    given = {"start_frame": 0, "frames": 5, "stride": 4, "size": 32, "ego_view": "undistorted", **inputs}
    return {
        "1": node("Exo2EgoLoadEgoExo4D", "Take", take=take, **given),
        "2": node("PreviewImage", "Ego", images=["1", EGO]),
    }


def rays_graph(take: str = ROOM, reference: bool = True, loader: dict | None = None, **inputs) -> Graph:
    """The maps of a take, recorded."""
    given = {"ego_camera": ["1", EGO_CAMERA], "width": 32, "height": 32, "frames": 0, **inputs}
    if reference:
        given["exo_camera"] = ["1", EXO_1_CAMERA]
    record = {"plucker": ["3", 0], "camera_embedding": ["3", 2], "filename": "rays.safetensors"}
    return {
        "1": take_graph(take, **(loader or {}))["1"],
        "3": node("Exo2EgoPlucker", "Rays", **given),
        "4": node("StandInRecordRays", "Record", **record),
    }


@pytest.fixture
def record(comfy_server, comfy_client):
    """Run a graph of rays; returns the recorded tensors and what the maps say of themselves."""

    def run(graph: Graph) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        comfy_client.run(graph)
        path = comfy_server.base / "output" / "rays.safetensors"
        with safe_open(path, "pt") as file:
            return load_file(path), file.metadata()

    return run


# The loader ---------------------------------------------------------------------------------------------------------


def test_takes_are_offered(comfy_client, tree):
    info = comfy_client.get("/object_info/Exo2EgoLoadEgoExo4D")["Exo2EgoLoadEgoExo4D"]
    assert info["input"]["required"]["take"][1]["options"] == [ROOM, tree.name]


def test_the_example_room_with_its_sheet(comfy_client):
    run = comfy_client.run(take_graph(ROOM, stride=3))  # a graph of its own: a cached node shows nothing
    assert len(run.files("1")) == 1  # the contact sheet of all views
    assert len(run.files("2")) == 5
    sheet = comfy_client.fetch(run.files("1")[0])
    assert int.from_bytes(sheet[20:24], "big") > 5 * 128  # a PNG's height: five rows


def test_a_take_and_what_changes_on_the_disk(comfy_client, tree):
    graph = take_graph(tree.name)
    assert len(comfy_client.run(graph).files("2")) == 5
    assert "Take" not in comfy_client.run(graph).seconds, "an unchanged take was loaded again"
    content = json.loads(tree.poses_file.read_text())
    tree.poses_file.write_text(json.dumps(content, indent=1))
    assert "Take" in comfy_client.run(graph).seconds


@pytest.mark.parametrize("output", [EXO_4, EXO_4_CAMERA])
def test_a_view_that_a_take_does_not_have(comfy_client, tree, output):
    graph = rays_graph(tree.name, loader={"start_frame": 1})
    if output == EXO_4:
        graph["5"] = node("PreviewImage", "Fourth", images=["1", EXO_4])
    else:
        graph["3"]["inputs"]["exo_camera"] = ["1", EXO_4_CAMERA]
    with pytest.raises(ExecutionFailedError, match=f"{made_up.TAKE} has 3 exo views, so there is no exo 4. Disconnect"):
        comfy_client.run(graph)


def test_a_missing_view_that_is_linked_later(comfy_server, comfy_client, tree):
    """The loader's result is kept from the first run, so it cannot look at the links: the view itself stops the run."""
    graph = take_graph(tree.name, start_frame=2)
    comfy_client.run(graph)
    run = comfy_client.run({**graph, "5": node("PreviewImage", "Fourth", images=["1", EXO_4])})
    assert "Take" not in run.seconds
    assert "5" not in run.outputs


def test_all_four_views_of_the_example_room_may_be_used(comfy_client):
    graph = take_graph(ROOM, frames=1)
    for number in range(4):
        graph[f"{10 + number}"] = node("PreviewImage", f"Exo {number + 1}", images=["1", number])
    run = comfy_client.run(graph)
    pictures = [comfy_client.fetch(run.files(f"{10 + number}")[0]) for number in range(4)]
    assert len(set(pictures)) == 4


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"frames": 4}, r"4n\+1 frames, got 4"),
        ({"start_frame": 40, "stride": 30}, "93 source frames; 5 frames from 40"),
    ],
)
def test_clips_that_the_example_room_does_not_have(comfy_client, inputs, message):
    with pytest.raises(ExecutionFailedError, match=message):
        comfy_client.run(take_graph(ROOM, **inputs))


@pytest.mark.parametrize("name", ["../egoexo#made_up_bike_1", "/etc#a", "egoexo#absent", "egoexo", ""])
def test_names_that_are_no_take_are_refused_before_anything_runs(comfy_client, tree, name):
    with pytest.raises(PromptRejectedError, match="Take"):
        comfy_client.run(take_graph(name))


def test_a_take_without_ego_poses(comfy_client, tree):
    content = tree.poses_file.read_text()
    tree.edit_poses(lambda poses: poses.pop(made_up.GLASSES))
    table = tree.trajectory / "closed_loop_trajectory.csv"
    table.rename(table.with_suffix(".hidden"))
    try:
        with pytest.raises(ExecutionFailedError, match=r"no ego poses: .*closed_loop_trajectory\.csv"):
            comfy_client.run(take_graph(tree.name))
    finally:
        table.with_suffix(".hidden").rename(table)
        tree.poses_file.write_text(content)


def test_remarks_reach_the_log(comfy_server, comfy_client, tree):
    calibration = tree.trajectory / "online_calibration.jsonl"
    calibration.rename(calibration.with_suffix(".hidden"))
    try:
        comfy_client.run(take_graph(tree.name, start_frame=3))
    finally:
        calibration.with_suffix(".hidden").rename(calibration)
    assert "Exo2EgoLoadEgoExo4D: trajectory/online_calibration.jsonl is not there" in comfy_server.log.read_text()


# The maps -----------------------------------------------------------------------------------------------------------


def test_the_maps_of_the_example_room(record):
    tensors, said = record(rays_graph())
    take = example_views(Clip(n_frames=5, size=32))
    exo, ego = take.exo[0].camera, take.ego_camera
    assert torch.equal(tensors["maps"], PluckerMaps.of(ego, exo, 32, 32).maps)
    assert said == {"reference": "exo1", "rays": "pinhole"}
    assert torch.equal(tensors["embedding"], wan_camera_embedding(PluckerMaps.of(ego, None, 32, 32).maps))


def test_without_a_reference(record):
    tensors, said = record(rays_graph(reference=False, loader={"ego_view": "as recorded, fisheye rays"}))
    assert said == {"reference": "own_first_frame", "rays": "raymap"}
    assert tensors["maps"][0, :3].abs().max() < 1e-6
    assert torch.equal(tensors["embedding"], wan_camera_embedding(tensors["maps"]))


def test_the_maps_of_a_take(record, tree):
    tensors, _ = record(rays_graph(tree.name))
    ego = made_up.truth_camera(Pinhole(150, 150, 256, 256), 512, 512, range(12, 29, 4))
    exo = Camera(Pinhole(1, 1, 0, 0), 1, 1, made_up.exo_pose("cam01"))
    assert torch.allclose(tensors["maps"], PluckerMaps.of(ego, exo, 32, 32).maps, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"frames": 4}, r"4n\+1 frames, got 4 frames. Set frames to 1"),
        ({"frames": 9}, "Expected 9 poses of the ego camera.*has 5. Set frames to 5"),
    ],
)
def test_frames_that_do_not_fit(comfy_client, inputs, message):
    with pytest.raises(ExecutionFailedError, match=message):
        comfy_client.run(rays_graph(**inputs))


def test_fewer_frames_and_a_fixed_camera(record):
    assert len(record(rays_graph(frames=1))[0]["maps"]) == 1
    fixed = rays_graph(frames=9)
    fixed["3"]["inputs"]["ego_camera"] = ["1", EXO_4_CAMERA]
    maps = record(fixed)[0]["maps"]
    assert len(maps) == 9
    assert torch.equal(maps[0], maps[8])


def test_the_preview_shows_directions_and_moments(comfy_client):
    graph = rays_graph(width=64)
    del graph["4"]
    graph["5"] = node("PreviewImage", "Preview", images=["3", 1])
    run = comfy_client.run(graph)
    assert len(run.files("5")) == 5
    picture = comfy_client.fetch(run.files("5")[0])
    assert int.from_bytes(picture[16:20], "big") == 128  # a PNG's width: two maps side by side
    assert run.outputs["3"]["animated"] == [True]
