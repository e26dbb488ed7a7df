"""Takes and cameras that are chosen by name, over HTTP: the lists, links, and what changes on the disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from exo2ego.takes.library import EXAMPLE_ROOM
from support.graphs import SMALL_TAKE, Graph, node_id, prior_graph, with_inputs, with_node

HINT = "camera of the built-in example: for your own clip choose your own file"


@pytest.fixture
def input_folder(comfy_server, small_take) -> Path:
    return comfy_server.base / "input"


@pytest.fixture
def dataset(input_folder, small_take):
    """The small take as a dataset of two in EgoX's layout; its file has a name of its own."""
    folder = input_folder / "release"
    shutil.copytree(small_take, folder / "videos" / "two")
    (folder / "depth_maps").mkdir()
    entry = json.loads((small_take / "meta.json").read_text())
    entries = [{**entry, "exo_path": f"./videos/{name}/exo.mp4"} for name in ("one", "two")]
    for name in ("meta.json", "my_meta.json"):
        (folder / name).write_text(json.dumps({"test_datasets": entries}))
    yield folder
    shutil.rmtree(folder)


def options(comfy_client, node: str, name: str) -> list[str]:
    return comfy_client.get(f"/object_info/{node}")[node]["input"]["required"][name][1]["options"]


def camera_graph(file: str | list, **inputs) -> Graph:
    """The prior's graph with the ego camera from a file."""
    inputs = {"file": file, "role": "ego", "lens": "EgoX release (Aria RGB)", "width": 64, "height": 64, **inputs}
    graph = with_node(prior_graph(), "940", "Exo2EgoCameraFile", "Camera file", **inputs)
    return with_inputs(graph, "Ego prior", camera=["940", 0])


def named(graph: Graph, name: str) -> Graph:
    return with_node(graph, "950", "StandInName", "Name", name=name)


def test_a_linked_take(comfy_client, small_take):
    graph = named(with_inputs(prior_graph(radius=4.1), "Take", take=["950", 0]), SMALL_TAKE)
    run = comfy_client.run(graph)
    assert run.files(node_id(graph, "Save ego prior"))
    assert "Take" in run.seconds
    assert "Take" not in comfy_client.run(graph).seconds, "an unchanged take was loaded again"


def test_a_linked_camera_file(comfy_client, small_take):
    graph = named(camera_graph(["950", 0]), f"{SMALL_TAKE}/ego_camera.json")
    assert comfy_client.run(graph).files(node_id(graph, "Save ego prior"))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "absent#x", ""])
def test_a_linked_name_is_checked_when_it_comes(comfy_client, small_take, name):
    for graph in (with_inputs(prior_graph(), "Take", take=["950", 0]), camera_graph(["950", 0])):
        with pytest.raises(ExecutionFailedError, match=r"outside|leads out|There is no|empty"):
            comfy_client.run(named(graph, name))


@pytest.mark.parametrize("value", [5, 1.5, {"a": 1}])
def test_a_choice_that_is_no_text(comfy_client, small_take, value):
    for graph in (with_inputs(prior_graph(), "Take", take=value), camera_graph(value)):
        with pytest.raises(PromptRejectedError, match="takes a text; got"):
            comfy_client.run(graph)


def test_a_camera_of_a_dataset(comfy_client, dataset):
    names = options(comfy_client, "Exo2EgoCameraFile", "file")
    assert {"release/meta.json#one", "release/my_meta.json#two"} <= set(names)
    assert "release/meta.json" not in names
    graph = camera_graph("release/my_meta.json#two")
    assert comfy_client.run(graph).files(node_id(graph, "Save ego prior"))
    with pytest.raises(PromptRejectedError, match=r"has \['one', 'two'\]"):
        comfy_client.run(camera_graph("release/my_meta.json#three"))


def test_a_foreign_meta_json_leaves_the_node_in_the_menu(comfy_client, input_folder):
    folder = input_folder / "foreign"
    folder.mkdir()
    try:
        for text in ('{"test_datasets": ["a"]}', '{"test_datasets": null}'):
            (folder / "meta.json").write_text(text)
            assert {EXAMPLE_ROOM, SMALL_TAKE} <= set(options(comfy_client, "Exo2EgoLoadTake", "take"))
    finally:
        shutil.rmtree(folder)


def test_a_changed_file_with_a_hash_in_its_name_is_loaded_again(comfy_client, input_folder, small_take):
    source, copy = small_take / "ego_camera.json", input_folder / "camera#2.json"
    shutil.copy(source, copy)
    graph = camera_graph(copy.name, role="exo")
    assert "Camera file" in comfy_client.run(graph).seconds
    assert "Camera file" not in comfy_client.run(graph).seconds
    copy.write_text(source.read_text() + " ")
    assert "Camera file" in comfy_client.run(graph).seconds
    copy.unlink()


def test_a_take_shows_its_progress(comfy_client, small_take):
    seen = []
    graph = with_inputs(prior_graph(), "Take", max_frames=1)
    comfy_client.run(graph, on_progress=lambda progress: seen.append((progress.title, progress.done, progress.total)))
    assert ("Take", 3, 3) in seen  # the exo clip, the true ego view, the depth


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (33, 17)])
def test_any_size_in_pixels(comfy_client, small_take, width, height):
    for node in ("Exo2EgoCamera", "Exo2EgoCameraFile"):
        fields = comfy_client.get(f"/object_info/{node}")[node]["input"]["required"]
        for name, value in (("width", width), ("height", height)):
            assert fields[name][1]["step"] == 1
            assert fields[name][1]["min"] <= value <= fields[name][1]["max"]


def test_the_example_s_camera_says_so(comfy_server, comfy_client, small_take):
    before = comfy_server.log.read_text(errors="replace").count(HINT)
    comfy_client.run(camera_graph(f"{SMALL_TAKE}/ego_camera.json", width=32, height=32))
    assert comfy_server.log.read_text(errors="replace").count(HINT) == before
    comfy_client.run(camera_graph(EXAMPLE_ROOM, role="exo", width=112, height=0))
    assert comfy_server.log.read_text(errors="replace").count(HINT) == before + 1


def test_another_shape_is_refused_with_advice(comfy_client, small_take):
    with pytest.raises(ExecutionFailedError, match="Crop"):
        comfy_client.run(camera_graph(f"{SMALL_TAKE}/exo_camera.json", width=64, height=64))
