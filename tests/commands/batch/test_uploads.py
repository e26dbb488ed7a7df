"""Every kind of file that a node of the pack names goes to a real server, and the clip is made of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.head.openpose import openpose_frames
from exo2ego.takes.example.keypoints import example_keypoints
from exo2ego.takes.example.room import ExampleRoom
from support import ego_exo4d_tree as made_up
from support.batch import batch
from support.graphs import with_node
from support.people import direction_errors

FRAMES, SIZE = 3, (448, 256)
ROOM = "example room"


def graph():
    """Keypoints, depth and exo camera to an ego camera's file; a take of several views to its ego pictures."""
    built = with_node(
        {}, "1", "Exo2EgoLoadKeypoints", "Keypoints", file=ROOM, max_frames=FRAMES, width=SIZE[0], height=SIZE[1]
    )
    built = with_node(built, "2", "Exo2EgoDepth", "Depth", meaning="metric depth", file="none", near=0.0, far=0.0)
    built = with_node(
        built, "3", "Exo2EgoCameraFile", "Exo camera", file=ROOM, role="exo", lens="pinhole", width=0, height=0
    )
    settings = {"person": "largest", "number": 0, "tilt_degrees": 20.0, "smoothing": 0.0, "lens": "pinhole"}
    links = {"keypoints": ["1", 0], "depth": ["2", 0], "exo_camera": ["3", 0]}
    built = with_node(built, "4", "Exo2EgoHeadPose", "Head", width=64, height=64, **settings, **links)
    export = {"format": "JSON", "filename_prefix": "test/ego", "frame": 0, "fps": 16.0}
    built = with_node(built, "5", "Exo2EgoCameraExport", "Export", **export, camera=["4", 0])
    clip = {"start_frame": 0, "frames": 5, "stride": 4, "size": 32, "ego_view": "undistorted"}
    built = with_node(built, "6", "Exo2EgoLoadEgoExo4D", "Views", take=ROOM, **clip)
    return with_node(built, "7", "SaveImage", "Save ego", images=["6", 9], filename_prefix="test/picture")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A manifest's folder: its rows name keypoints (a folder, a file), depth, a camera and an Ego-Exo4D take."""
    folder = tmp_path_factory.mktemp("uploads")
    room = ExampleRoom(FRAMES)
    camera = room.exo_camera(*SIZE)
    (folder / "exo.json").write_text(camera.to_json())
    np.save(folder / "depth.npy", room.geometry(camera)[0].float().numpy())
    (folder / "frames").mkdir()
    keypoints = openpose_frames(example_keypoints(room, camera), *SIZE)
    (folder / "all.json").write_text(json.dumps(keypoints))
    for index, frame in enumerate(keypoints):
        content = {"version": 1.3, "people": frame["people"]}
        (folder / "frames" / f"clip_{index + 8}_keypoints.json").write_text(json.dumps(content))  # 8, 9, 10
    made_up.write_tree(folder / "data", n_video=60, n_poses=60, views=("cam01",))
    (folder / "workflow.json").write_text(json.dumps(graph()))
    row = {
        "name": "one",
        "keypoints": "frames",
        "Depth.file": "depth.npy",
        "camera": "exo.json",
        "Views.take": f"data/egoexo#{made_up.TAKE}",
    }
    (folder / "manifest.json").write_text(json.dumps([row, {**row, "name": "two", "keypoints": "all.json"}]))
    return folder


def run(folder, *words):
    return batch("run", folder / "manifest.json", "--workflow", folder / "workflow.json", *words)


def test_every_kind_of_file_reaches_the_server(folder, two_servers, tmp_path):
    server = two_servers[0]
    done = run(folder, "--out", tmp_path, "--server", server.url)
    assert done.returncode == 0, done.stdout + done.stderr
    clip = tmp_path / "clips" / "one"
    found = Camera.from_json((clip / "ego.json").read_text())
    truth = ExampleRoom(FRAMES).ego_camera(found.lens, 64, 64)
    assert found.n_frames == FRAMES
    assert (found.centers - truth.centers).norm(dim=-1).median() < 0.08
    assert direction_errors(found.rotations.mT, truth.rotations.mT).median() < 12
    in_one_file = (tmp_path / "clips" / "two" / "ego.json").read_bytes()
    assert (clip / "ego.json").read_bytes() == in_one_file, "the keypoints' files came in another order"
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(clip.glob("picture*.png"))]
    frames = torch.from_numpy(np.stack(pictures)).float() / 255
    assert made_up.frame_numbers(frames) == pytest.approx([12, 16, 20, 24, 28], abs=1)  # 8-bit pictures of 32 pixels
    sent = {path.name for path in (server.base / "input" / "exo2ego_batch").rglob("*") if path.is_file()}
    assert sent >= {
        "depth.npy",
        "exo.json",
        "takes.json",
        "cam01.mp4",
        "clip_8_keypoints.json",
        "clip_10_keypoints.json",
    }


def test_a_missing_file_is_told_before_anything_is_sent(folder, tmp_path):
    rows = [
        {"keypoints": "nowhere"},
        {"Views.take": "data/egoexo#absent"},
        {"Views.take": "data/egoexo"},
        {"keypoints": "data"},
    ]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        json.dumps([{**row, "name": f"{n}"} for n, row in enumerate(rows)]).replace("data", str(folder / "data"))
    )
    words = ("--workflow", folder / "workflow.json", "--out", tmp_path / "out", "--dry-run")
    told = batch("run", manifest, *words).stdout
    assert "keypoints: There is no 'nowhere'" in told
    assert "no take 'absent'" in told
    assert f"expected egoexo#{made_up.TAKE}" in told
    assert "no .json file" in told
