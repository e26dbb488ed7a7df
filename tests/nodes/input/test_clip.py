"""Load Clip in a running ComfyUI, and what follows its cut through the nodes."""

from __future__ import annotations

import json
import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from support.comfyui import import_comfyui, run_node
from support.odd_clips import TURNS, corners_of, number_of, turn, write_clip, write_pictures

import_comfyui()

import folder_paths  # noqa: E402

from exo2ego.nodes.extension import NODES  # noqa: E402

SETTINGS = {
    "start": 0.0,
    "frames": 9,
    "frame_rate": 0.0,
    "width": 0,
    "height": 0,
    "fit": "crop",
    "anchor": "center",
}
IMAGES, FPS, AUDIO, REPORT, CUT = range(5)


def node(class_type: str, title: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def clip_graph(file: str, **inputs) -> dict:
    return {
        "1": node("Exo2EgoLoadClip", "Clip", file=file, **{**SETTINGS, **inputs}),
        "2": node("PreviewImage", "Frames", images=["1", IMAGES]),
        "3": node("PreviewAny", "Report", source=["1", REPORT]),
    }


@pytest.fixture(scope="module")
def folder(comfy_server):
    """A folder of clips in the server's input folder."""
    folder = comfy_server.base / "input" / "my clips"
    turn(write_clip(folder / "ünd 🎬 portrait.mp4", 60, rate=60, sound="aac"), TURNS[90])
    write_clip(folder / "plain.mp4", 24)
    write_pictures(folder / "shot", 6)
    (folder / "torn.mp4").write_bytes((folder / "plain.mp4").read_bytes()[:300])
    yield folder
    shutil.rmtree(folder)


# Over HTTP ----------------------------------------------------------------------------------------------------------


def test_clips_are_offered_and_may_be_uploaded(comfy_client, folder):
    info = comfy_client.get("/object_info/Exo2EgoLoadClip")["Exo2EgoLoadClip"]
    declared = info["input"]["required"]["file"][1]
    assert declared["video_upload"] is True
    assert declared["exo2ego_file"]["kind"] == "clip"
    options = declared["options"]
    assert options[0] == "example room"
    for name in ("my clips/ünd 🎬 portrait.mp4", "my clips/shot"):
        assert name in options


def test_a_portrait_clip_at_half_its_rate(comfy_client, folder):
    graph = clip_graph("my clips/ünd 🎬 portrait.mp4", frame_rate=30.0, frames=10)
    graph["4"] = node("CreateVideo", "Video", images=["1", IMAGES], fps=["1", FPS], audio=["1", AUDIO])
    graph["5"] = node("SaveVideo", "Save", video=["4", 0], filename_prefix="clip", format="auto", codec="auto")
    run = comfy_client.run(graph)
    assert len(run.files("2")) == 9
    picture = comfy_client.fetch(run.files("2")[0])
    assert (int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")) == (96, 144)
    said = json.dumps(run.outputs["3"])
    assert "9 of 60 frames" in said
    assert "turned 90 degrees clockwise" in said
    assert "Cut to 9" in said
    assert run.files("1"), "no preview"


def test_the_example_needs_no_file(comfy_client):
    assert len(comfy_client.run(clip_graph("example room", frames=5, width=112, height=64)).files("2")) == 5


def test_a_clip_that_changes_is_read_again(comfy_client, folder):
    graph = clip_graph("my clips/plain.mp4", frames=5)
    comfy_client.run(graph)
    assert "Clip" not in comfy_client.run(graph).seconds
    write_clip(folder / "plain.mp4", 30)
    assert "Clip" in comfy_client.run(graph).seconds


@pytest.mark.parametrize("name", ["../secret.mp4", "absent.mp4", "", "my clips/none_*.png"])
def test_names_that_are_no_clip_are_refused_before_anything_runs(comfy_client, folder, name):
    with pytest.raises(PromptRejectedError, match="file"):
        comfy_client.run(clip_graph(name))


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("my clips/torn.mp4", {}, "torn.mp4 is not a readable video"),
        ("my clips/plain.mp4", {"start": 100.0}, "Choose a start below"),
    ],
)
def test_what_cannot_be_read_is_said(comfy_client, folder, name, inputs, said):
    with pytest.raises(ExecutionFailedError, match=said):
        comfy_client.run(clip_graph(name, **inputs))


# What follows -------------------------------------------------------------------------------------------------------


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """An input folder of the test's own."""
    silent = ModuleType("server")  # no editor listens
    silent.PromptServer = type("PromptServer", (), {})
    monkeypatch.setitem(sys.modules, "server", silent)
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    return tmp_path


def run(node_id: str, **values):
    (found,) = [node for node in NODES if node.define_schema().node_id == node_id]
    return run_node(found, {"unique_id": "1", "prompt": {}}, **values).args


def load(file: str, **values):
    return run("Exo2EgoLoadClip", file=file, **{**SETTINGS, **values})


def plain_depth(cut, file: str = "none", **values):
    return run("Exo2EgoDepth", meaning="metric depth", file=file, near=0.0, far=0.0, cut=cut, **values)[0]


CAMERA = {"x": 0.0, "y": 0.0, "z": 0.0, "yaw": 0.0, "pitch": 0.0, "roll": 0.0}


def brightness(picture: np.ndarray) -> np.ndarray:
    return picture.mean(axis=-1) * 0.9 + 0.05


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
@pytest.mark.parametrize("degrees", [0, 90])
@pytest.mark.parametrize("as_stored", [False, True])
def test_depth_of_the_whole_clip_lies_on_the_pictures(inputs, fit, degrees, as_stored):
    """Depth that is the whole clip's brightness, at half its size: through the cut it is the pictures' brightness."""
    turn(write_clip(inputs / "clip.mp4", 40, rate=60, size=(288, 192), crf="8"), TURNS[degrees])
    whole = load("clip.mp4", frames=37)[IMAGES].numpy()  # one by one, upright, uncut
    maps = np.stack([brightness(picture)[::2, ::2] for picture in whole])
    maps = np.concatenate([maps, maps[-3:]])
    if as_stored:
        maps = np.rot90(maps, degrees // 90, (1, 2))
    np.save(inputs / "depth.npy", maps.astype(np.float16))
    images, _, _, _, cut = load("clip.mp4", frame_rate=30.0, start=0.1, width=128, height=128, fit=fit, anchor="top")
    depth = plain_depth(cut, "depth.npy").values.numpy()
    assert depth.shape == images.shape[:3]
    inside = depth > 0
    assert inside.all() == (fit != "pad")
    assert not images.numpy()[~inside].any()
    difference = np.abs(depth - brightness(images.numpy()))[inside]
    assert np.median(difference) < 0.02
    assert np.quantile(difference, 0.85) < 0.1
    other = np.abs(np.roll(depth, 1, axis=0) - brightness(images.numpy()))[inside]
    assert other.mean() > 1.2 * difference.mean()  # the frames' numbers differ


def test_a_long_clip_with_depth_of_another_size(inputs):
    """1920 x 1080, 300 frames, depth at 960 x 540 for each: a marked pixel of a frame lies where the picture has it."""
    write_clip(inputs / "long.mp4", 300, size=(1920, 1080), preset="ultrafast")
    depth = np.full((300, 540, 960), 5, np.float16)
    depth[:, :135, :240] = 1  # the red corner
    depth[:, 405:, 720:] = 2  # the white one
    depth += np.arange(300, dtype=np.float16)[:, None, None] / 1000
    np.save(inputs / "depth.npy", depth)
    images, fps, _, _, cut = load("long.mp4", frames=49, start=2.0, width=784, height=448)
    assert fps == 30
    found = plain_depth(cut, "depth.npy").values
    assert found.shape == images.shape[:3]
    assert [number_of(image) for image in images[:3]] == [60, 61, 62]
    assert found[:, 200, 400].tolist() == pytest.approx([5 + (60 + index) / 1000 for index in range(49)], abs=3e-3)
    red = (images[0] - torch.tensor([220, 30, 30]) / 255).abs().amax(dim=-1) < 0.2
    white = images[0].amin(dim=-1) > 0.8
    near = found[0] < 1.5
    assert float((red & near).sum() / (red | near).sum()) > 0.97
    corner = (found[0] > 1.5) & (found[0] < 3)
    assert float((white[300:] & corner[300:]).sum() / corner.sum()) > 0.97


def test_depth_images_follow_too(inputs):
    write_clip(inputs / "clip.mp4", 12)
    cut = load("clip.mp4", frames=5, start=0.2)[CUT]
    grey = torch.arange(1.0, 13)[:, None, None, None].expand(12, 96, 144, 3)
    assert plain_depth(cut, images=grey).values[:, 0, 0].tolist() == [7, 8, 9, 10, 11]


def test_depth_of_what_was_handed_out_stays_as_it_is(inputs):
    """As a depth model makes it of the cut clip: the very frames, in the very size."""
    write_clip(inputs / "clip.mp4", 12)
    cut = load("clip.mp4", frames=5, start=0.2)[CUT]
    depth = torch.rand(5, 96, 144, 1).expand(5, 96, 144, 3) + 1
    assert torch.equal(plain_depth(cut, images=depth).values, depth[..., 0])


def test_fewer_depth_images_than_the_clip_has_frames_are_refused(inputs):
    write_clip(inputs / "clip.mp4", 12)
    cut = load("clip.mp4", frames=5)[CUT]
    with pytest.raises(ValueError, match=r"has 12 frames, and there are 5 depth images.*must not be connected"):
        plain_depth(cut, images=torch.ones(5, 48, 72, 3))


def test_cameras_follow(inputs):
    turn(write_clip(inputs / "clip.mp4", 20), TURNS[90])
    cut = load("clip.mp4", frames=5, start=0.2, width=96, height=96, anchor="top")[CUT]
    camera = run("Exo2EgoCamera", lens="pinhole", width=784, height=448, fov=60.0, **CAMERA, cut=cut)[0]
    # The clip is upright 96 x 144; its top square stays.
    assert (camera.width, camera.height) == (96, 96)
    assert camera.lens.fx == pytest.approx(48 / np.tan(np.radians(30)))
    assert (camera.lens.cx, camera.lens.cy) == pytest.approx((48, 72))

    poses = np.tile(np.eye(4), (20, 1, 1))
    poses[:, 0, 3] = np.arange(20)
    intrinsics = np.array([[200, 0, 96.0], [0, 200, 144], [0, 0, 1]])
    np.savez(inputs / "whole.npz", world_to_camera=poses, intrinsics=intrinsics, width=192, height=288)
    settings = {"role": "exo", "lens": "pinhole", "width": 0, "height": 0}
    settings["lens"] = "EgoX release (Aria RGB)"
    camera = run("Exo2EgoCameraFile", file="whole.npz", cut=cut, **settings)[0]
    assert camera.lens.fx == pytest.approx(100)
    assert (camera.lens.cx, camera.lens.cy) == pytest.approx((48, 72))
    assert camera.world_to_camera[:, 0, 3].tolist() == [6, 7, 8, 9, 10]


def test_keypoints_follow(inputs):
    write_clip(inputs / "clip.mp4", 20)
    cut = load("clip.mp4", frames=5, start=0.2, width=48, height=96, anchor="right")[CUT]
    frames = [
        {
            "people": [{"pose_keypoints_2d": [120.0 + number, 40.0, 1.0, *([0.0] * 51)]}],
            "canvas_width": 144,
            "canvas_height": 96,
        }
        for number in range(20)
    ]
    (inputs / "pose.json").write_text(json.dumps(frames))
    values = {"max_frames": 3, "width": 0, "height": 0}
    followed = run("Exo2EgoLoadKeypoints", file="pose.json", cut=cut, **values)[0]
    assert [frame["people"][0]["pose_keypoints_2d"][0] for frame in followed] == pytest.approx([30, 31, 32, 33, 34])
    assert len(run("Exo2EgoLoadKeypoints", file="pose.json", **values)[0]) == 3
    (inputs / "pose.json").write_text(json.dumps([*frames, frames[0]]))
    with pytest.raises(ValueError, match="has 20 frames, and there are 21 or more frames of keypoints"):
        run("Exo2EgoLoadKeypoints", file="pose.json", cut=cut, **values)


def test_a_mask_follows_into_the_points(inputs):
    write_clip(inputs / "clip.mp4", 20)
    images, _, _, _, cut = load("clip.mp4", frames=5, width=48, height=96, anchor="right")
    depth = plain_depth(None, images=torch.full((5, 96, 48, 3), 2.0))
    camera = run("Exo2EgoCamera", lens="pinhole", width=48, height=96, fov=60.0, **CAMERA)[0]
    mask = torch.zeros(20, 96, 144)
    mask[:, :, 96:120] = 1  # the left half of what is kept
    settings = {
        "background": "mean",
        "moving_parts": "mask, or estimated",
        "keep_moving": True,
        "stride": 1,
        "reliability": 0.5,
        "moving_points": "by keep_moving",
    }
    given = {"images": images, "depth": depth, "camera": camera, "moving": mask, **settings}
    points = run("Exo2EgoPointCloud", cut=cut, **given)[0]
    assert all(len(moving) == 24 * 96 and float(moving[:, 0].max()) < 0 for moving in points.frame_points)
    with pytest.raises(ValueError, match="20"):
        run("Exo2EgoPointCloud", **given)


def test_something_else_for_a_cut(inputs):
    with pytest.raises(ValueError, match=r"'cut' takes what was cut from a clip; got .* Connect cut of Load Clip"):
        plain_depth({"frames": 3}, images=torch.ones(5, 96, 144, 3))
    write_clip(inputs / "clip.mp4", 20)
    images, _, _, _, cut = load("clip.mp4", frames=5)
    assert corners_of(images[0]) == ["red", "green", "white", "blue"]
    object.__setattr__(cut, "window", (0, 0, 9999, 9))
    with pytest.raises(ValueError, match="not in order"):
        plain_depth(cut, images=torch.ones(20, 96, 144, 3))
