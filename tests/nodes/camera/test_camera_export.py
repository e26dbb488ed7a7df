"""Export Camera over HTTP: every format saved, loaded again by Camera from File, and nothing outside the folder."""

from __future__ import annotations

import ast

import pytest
import torch

from exo2ego.commands.comfyui.errors import ExecutionFailedError
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.takes.camera_formats.write import CameraFormat
from support.graphs import Graph, with_node

EXO = {"lens": "pinhole", "width": 640, "height": 320, "fov": 60.0, "x": 0.0, "y": 0.0, "z": 0.0}
POSES = torch.stack([pose_from_angles((0.1 * f, -1, 2), (10 * f, -5, f)) for f in range(6)])


def export_graph(kind: CameraFormat = CameraFormat.JSON, lens: str = "pinhole", **inputs: object) -> Graph:
    ego = {**EXO, "lens": lens, "width": 128, "height": 128, "yaw": 0.0, "pitch": 0.0, "roll": 0.0}
    graph = with_node({}, "1", "Exo2EgoCamera", "Ego", **ego, matrices=str(POSES.tolist()))
    graph = with_node(graph, "2", "Exo2EgoCamera", "Exo", **EXO, yaw=0.0, pitch=0.0, roll=0.0)
    given = {"format": kind.value, "filename_prefix": "export/ego", "frame": 2, "fps": 30.0, **inputs}
    return with_node(graph, "3", "Exo2EgoCameraExport", "Export", camera=["1", 0], exo_camera=["2", 0], **given)


@pytest.mark.parametrize("kind", CameraFormat, ids=lambda kind: kind.name)
def test_saved_and_loaded(comfy_server, comfy_client, kind):
    run = comfy_client.run(export_graph(kind))
    (saved,) = run.files("3")
    assert saved["type"] == "output"
    assert saved["subfolder"] == "export"
    assert saved["filename"].endswith(kind.suffix)
    assert f"Saved export/{saved['filename']}" in run.outputs["3"]["text"][0]
    name = f"exported{kind.suffix}"
    (comfy_server.base / "input" / name).write_bytes(comfy_client.fetch(saved))
    load = {"file": name, "role": "ego", "lens": "pinhole", "width": 128, "height": 128}
    graph = with_node({}, "1", "Exo2EgoCameraFile", "Load", **load)
    export = {"format": "JSON", "filename_prefix": "export/again", "frame": 0, "fps": 24.0}
    graph = with_node(graph, "2", "Exo2EgoCameraExport", "Export", camera=["1", 0], **export)
    again = Camera.from_json(comfy_client.fetch(comfy_client.run(graph).files("2")[0]).decode())
    assert float((again.world_to_camera - POSES).abs().max()) <= 2e-6
    assert (again.width, again.height) == (128, 128)
    listed = comfy_client.get("/object_info/Exo2EgoCameraFile")["Exo2EgoCameraFile"]["input"]["required"]["file"]
    assert name in str(listed)


@pytest.mark.parametrize("all_frames", [False, True])
def test_one_frame_or_all_go_to_viewers(comfy_client, all_frames):
    graph = with_node(export_graph(all_frames=all_frames), "4", "PreviewAny", "Look", source=["3", 0])
    given = ast.literal_eval(comfy_client.run(graph).outputs["4"]["text"][0])
    assert isinstance(given, list) == all_frames
    shown = given[2] if all_frames else given
    assert (shown["position"]["x"], shown["zoom"]) == (pytest.approx(0.2), 1)


def test_names_count_on(comfy_client):
    first, second = (
        comfy_client.run(export_graph(filename_prefix="export/counted", frame=frame)).files("3")[0]["filename"]
        for frame in (0, 1)
    )
    assert (first, second) == ("counted_00001_.json", "counted_00002_.json")


@pytest.mark.parametrize("prefix", ["x" * 300, "a/" * 3000, "taken/ego"], ids=["name", "path", "file for folder"])
def test_names_that_cannot_be_written(comfy_server, comfy_client, prefix):
    (comfy_server.base / "output" / "taken").write_bytes(b"")
    told = r"ValueError: The camera cannot be saved under the filename prefix .*Choose another name"
    with pytest.raises(ExecutionFailedError, match=told):
        comfy_client.run(export_graph(filename_prefix=prefix))


@pytest.mark.parametrize("prefix", ["../ego", "/tmp/ego", "export/../../ego", "a\0b"], ids=repr)
def test_nothing_outside_the_output_folder(comfy_server, comfy_client, prefix):
    before = sorted(comfy_server.base.iterdir())
    with pytest.raises(ExecutionFailedError, match=r"leads out of ComfyUI.s output folder|a text of whole characters"):
        comfy_client.run(export_graph(filename_prefix=prefix))
    assert sorted(comfy_server.base.iterdir()) == before


def test_what_a_format_cannot_hold_is_said(comfy_client):
    with pytest.raises(ExecutionFailedError, match="stands in for the Fisheye624 lens"):
        comfy_client.run(export_graph(CameraFormat.CHAN, lens="EgoX release (Aria RGB)"))
    run = comfy_client.run(export_graph(CameraFormat.GLTF, lens="EgoX release (Aria RGB)"))
    assert "stands in for the Fisheye624 lens" in run.outputs["3"]["text"][0]
    with pytest.raises(ExecutionFailedError, match="frames 0 to 5; there is no frame 6"):
        comfy_client.run(export_graph(frame=6))
