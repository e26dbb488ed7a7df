"""Depth of any file through the node, in a running ComfyUI and with the cut of a clip."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from exo2ego.commands.comfyui.errors import PromptRejectedError
from support.comfyui import import_comfyui, run_node
from support.depth_files import write_exr, write_gray_video
from support.odd_clips import TURNS, number_of, turn, write_clip

import_comfyui()

import folder_paths  # noqa: E402
from comfy_api.latest import io  # noqa: E402

from exo2ego.nodes.extension import NODES  # noqa: E402

SETTINGS = {"start": 0.0, "frame_rate": 0.0, "fit": "crop", "anchor": "center"}
DEPTH = {"meaning": "metric depth", "near": 0.0, "far": 0.0}


@pytest.fixture
def said(monkeypatch):
    """What nodes say below themselves."""
    texts = []
    silent = ModuleType("server")

    class Listener:
        client_id = "a page"

        def send_progress_text(self, text, node, client_id):
            assert client_id == self.client_id
            texts.append(text)

    listener = Listener()
    silent.PromptServer = type("PromptServer", (), {"instance": listener})
    monkeypatch.setitem(sys.modules, "server", silent)
    return texts


@pytest.fixture
def inputs(tmp_path, monkeypatch, said):
    """An input folder of the test's own."""
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path))
    return tmp_path


def run(node_id: str, **values):
    (found,) = [node for node in NODES if node.define_schema().node_id == node_id]
    return run_node(found, {io.Hidden.unique_id: "1"}, **values).args


def depth_of(file: str, **values):
    return run("Exo2EgoDepth", file=file, **{**DEPTH, **values})[0]


def test_the_file_takes_the_place_of_the_images(inputs, said):
    np.save(inputs / "depth.npy", np.linspace(3, 4, 8 * 8 * 2).reshape(2, 8, 8))
    depth = depth_of("depth.npy", images=torch.rand(5, 16, 16, 3))
    assert depth.values.shape == (2, 8, 8)
    assert "The file takes the place of images" in said[-1]
    with pytest.raises(ValueError, match=r"none arrived\. Connect one, or choose a file"):
        depth_of("none")


def test_depth_that_core_cut_to_8_bit_is_named(inputs, said):
    """Millimetres in a PNG of 16 bit, loaded as an image by ComfyUI itself."""
    import nodes

    ramp = np.linspace(0, 60_000, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(inputs / "depth.png")
    image, _ = nodes.LoadImage().load_image("depth.png")
    levels = len(image.unique())
    assert levels <= 256
    depth_of("none", images=image)
    assert f"{levels} levels, so they went through 8 bit: ComfyUI's Load Image cuts 16-bit PNG" in said[-1]
    depth_of("none", images=image, meaning="inverse depth")
    assert f"The images went through 8 bit ({levels} levels)" in said[-1]
    depth_of("none", images=torch.rand(1, 64, 64, 3))
    assert "8 bit" not in said[-1]
    whole = depth_of("depth.png", unit="millimetres")
    assert len(whole.values.unique()) == len(np.unique(ramp))
    assert float(whole.values.max()) == pytest.approx(60)


def test_part_and_unit(inputs):
    np.save(inputs / "depth.npy", 100.0 * np.arange(1, 11)[:, None, None] * np.ones((10, 8, 8)))
    depth = depth_of("depth.npy", unit="centimetres", start=2, frames=3)
    assert depth.values[:, 0, 0].tolist() == [3, 4, 5]
    images = torch.full((1, 8, 8, 1), 50.0)
    assert float(depth_of("none", images=images, unit="own factor", factor=0.1).values[0, 0, 0]) == pytest.approx(5)
    with pytest.raises(ValueError, match="millimetres belongs to metric depth"):
        depth_of("depth.npy", meaning="inverse depth", unit="millimetres")


@pytest.mark.parametrize(
    ("kind", "turned", "size", "count"),
    [
        ("exr", False, (1920, 1080), 300),
        ("exr", True, (480, 270), 150),
        ("gray video", False, (480, 270), 150),
        ("gray video", True, (480, 270), 150),
    ],
)
def test_a_long_clip_with_small_depth(inputs, kind, turned, size, count):
    """Depth of half the clip's size for each frame: a marked point of it lies where the picture has it."""
    turn(write_clip(inputs / "long.mp4", count, size=size, preset="ultrafast"), TURNS[90 if turned else 0])
    (width, height), step = size, size[0] // 240
    small = (height // 2, width // 2)
    rows, columns = np.mgrid[: small[0], : small[1]]
    # Each pixel tells where it is, and each map which: so that one that is off by one is found.
    place = 1 + (columns // step + 120 * (rows // step)) / 1000
    maps = np.stack([place] * count).astype(np.float32)
    band = slice(small[0] // 2 - 10, small[0] // 2 + 10)
    maps[:, band, :] = (10 + np.arange(count) / 8)[:, None, None]
    if kind == "exr":
        for number, one in enumerate(maps):
            write_exr(inputs / "depth" / f"frame_{number + 1001}.exr", {"ViewLayer.Depth.Z": one}, "none")
        file, unit = "depth", {}
    else:
        write_gray_video(inputs / "depth.mkv", (maps * 1000).round(), "ffv1", "gray16le")
        file, unit = "depth.mkv", {"unit": "millimetres"}
    handed = (448, 784) if turned else (784, 448)
    images, _, _, _, cut = run(
        "Exo2EgoLoadClip", file="long.mp4", **{**SETTINGS, "start": 3.0}, frames=49, width=handed[0], height=handed[1]
    )
    found = depth_of(file, cut=cut, **unit).values
    assert found.shape == images.shape[:3] == (49, handed[1], handed[0])
    as_stored = np.rot90(images[:3], 1 if turned else 0, (1, 2))
    assert [number_of(image) for image in as_stored] == [90, 91, 92]
    # Where a pixel of what is handed out lies in the depth's own map: by the rule of crops, written down anew.
    across, down = (height, width) if turned else (width, height)
    scale = max(handed[0] / across, handed[1] / down)
    x = (np.arange(handed[0]) + 0.5 - handed[0] / 2) / scale + across / 2
    y = (np.arange(handed[1]) + 0.5 - handed[1] / 2) / scale + down / 2
    y, x = np.meshgrid(y, x, indexing="ij")
    if turned:  # clockwise: the upper edge of what is stored is the right edge
        x, y = y, height - x
    expected = maps[90:139][:, (y / 2).astype(int), (x / 2).astype(int)]
    off = np.abs(found.numpy() - expected) > 4e-4
    # Crops begin at whole pixels of the clip, so that a border of a step may lie a pixel away.
    assert off.mean() < (0.05 if kind == "exr" else 0.08)
    inside = np.zeros_like(off)
    inside[:, 4:-4, 4:-4] = True
    marked = (expected > 9.9) & inside & ~_near_edge(expected > 9.9)
    assert marked.any()
    assert not off[marked].any()


def _near_edge(mask: np.ndarray) -> np.ndarray:
    near = np.zeros_like(mask)
    for axis in (1, 2):
        for step in (-2, -1, 1, 2):
            near |= np.roll(mask, step, axis) != mask
    return near


def test_the_part_of_a_file_that_belongs_to_a_clip(inputs):
    """A file that begins before the clip: start says where."""
    write_clip(inputs / "clip.mp4", 12)
    maps = np.arange(1.0, 21)[:, None, None] * np.ones((20, 48, 72))
    np.save(inputs / "depth.npy", maps)
    cut = run("Exo2EgoLoadClip", file="clip.mp4", **{**SETTINGS, "start": 0.2}, frames=5, width=0, height=0)[4]
    depth = depth_of("depth.npy", cut=cut, start=5, frames=12)
    assert depth.values[:, 0, 0].tolist() == [12, 13, 14, 15, 16]
    with pytest.raises(ValueError, match="has 12 frames, and there are 20 or more depth maps"):
        depth_of("depth.npy", cut=cut)


# Geometry of newer cores --------------------------------------------------------------------------------------------


def moge_geometry(frames: int, height: int, width: int) -> dict:
    """MOGE_GEOMETRY of a plane whose depth grows from frame to frame."""
    depth = torch.arange(2.0, 2 + frames)[:, None, None].repeat(1, height, width)
    depth[:, : height // 4] = torch.inf
    intrinsics = torch.tensor([[0.8, 0, 0.5], [0, 0.8 * width / height, 0.5], [0, 0, 1]]).repeat(frames, 1, 1)
    mask = torch.isfinite(depth)
    return {"image": torch.zeros(frames, height, width, 3), "depth": depth, "intrinsics": intrinsics, "mask": mask,
            "normal": torch.zeros(frames, height, width, 3)}  # fmt: skip


def geometry_of(**values):
    return run("Exo2EgoDepth", file="none", **{**DEPTH, **values})


def test_geometry_gives_camera_and_mask(inputs):
    depth, camera, mask = geometry_of(moge_geometry=moge_geometry(3, 40, 60))
    assert depth.values[:, 20, 30].tolist() == [2, 3, 4]
    assert not mask[:, :10].any()
    assert mask[:, 10:].all()
    assert (camera.lens.fx, camera.lens.cx) == pytest.approx((48, 30))
    _, camera, mask = geometry_of(images=torch.rand(2, 8, 8, 3) + 1)
    assert camera is None
    assert mask.all()


def test_geometry_of_the_whole_clip_follows_the_cut(inputs):
    write_clip(inputs / "clip.mp4", 12)
    cut = run(
        "Exo2EgoLoadClip", file="clip.mp4", **{**SETTINGS, "start": 0.2, "anchor": "top"}, frames=5, width=72, height=72
    )[4]
    depth, camera, _ = geometry_of(moge_geometry=moge_geometry(12, 48, 72), cut=cut)
    assert depth.values[:, 60, 30].tolist() == [8, 9, 10, 11, 12]
    # The clip is 144 x 96; the middle square of 96 x 96 stays, at 72 x 72.
    assert camera.lens.fx == pytest.approx(0.8 * 144 * 72 / 96)
    assert (camera.lens.cx, camera.lens.cy) == pytest.approx((36, 36))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"images": torch.rand(3, 40, 60, 3)}, "images and moge_geometry arrived"),
        ({"da3_geometry": {"depth": torch.ones(1, 4, 4)}}, "moge_geometry and da3_geometry arrived"),
        ({"meaning": "inverse depth"}, "give metric depth, not inverse depth"),
    ],
)
def test_more_than_one_source(inputs, values, said):
    with pytest.raises(ValueError, match=said):
        geometry_of(moge_geometry=moge_geometry(3, 40, 60), **values)


# Over HTTP ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(comfy_server):
    folder = comfy_server.base / "input" / "my depth"
    for number in range(4):
        write_exr(folder / "shot ü" / f"z_{number:03d}.exr", {"Z": np.full((16, 24), 2.0 + number, np.float32)})
    Image.fromarray(np.arange(1000, 1000 + 384, dtype=np.uint16).reshape(16, 24)).save(folder / "one.png")
    yield folder
    shutil.rmtree(folder)


def graph(**inputs) -> dict:
    values = {**DEPTH, **inputs}
    return {
        "1": {"class_type": "Exo2EgoDepth", "inputs": values, "_meta": {"title": "Depth"}},
        "2": {"class_type": "MaskToImage", "inputs": {"mask": ["1", 2]}, "_meta": {"title": "Mask"}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}, "_meta": {"title": "Show"}},
    }


def test_files_and_folders_are_offered_and_run(comfy_client, folder):
    declared = comfy_client.get("/object_info/Exo2EgoDepth")["Exo2EgoDepth"]["input"]
    options = declared["required"]["file"][1]["options"]
    assert {"my depth/shot ü", "my depth/one.png"} <= set(options)
    assert declared["required"]["file"][1]["exo2ego_file"] == {"kind": "depth", "built_in": "none"}
    assert len(comfy_client.run(graph(file="my depth/shot ü")).files("3")) == 4
    given = {"unit": "millimetres", "factor": 1.0, "start": 0, "frames": 1}
    assert len(comfy_client.run(graph(file="my depth/one.png", **given)).files("3")) == 1


def test_a_file_of_a_sequence_that_changes_is_read_again(comfy_client, folder):
    wanted = graph(file="my depth/shot ü/z_%03d.exr")
    comfy_client.run(wanted)
    assert "Depth" not in comfy_client.run(wanted).seconds
    write_exr(folder / "shot ü" / "z_002.exr", {"Z": np.full((16, 24), 9, np.float32)}, "none")
    assert "Depth" in comfy_client.run(wanted).seconds


@pytest.mark.parametrize("name", ["../depth.exr", "my depth/none_*.exr", "my depth/absent"])
def test_names_that_are_no_depth_are_refused_before_anything_runs(comfy_client, folder, name):
    with pytest.raises(PromptRejectedError, match="file"):
        comfy_client.run(graph(file=name))


# Tracked objects ------------------------------------------------------------------------------------------------------


def sam3_track(frames: int, height: int, width: int) -> dict:
    """SAM3_TRACK_DATA whose object 1 is the left half of the picture, and object 0 its upper half."""
    packed = torch.zeros(frames, 2, 32, 4, dtype=torch.uint8)
    packed[:, 0, :16] = 255
    packed[:, 1, :, :2] = 255
    return {"packed_masks": packed, "n_frames": frames, "scores": [0.9, 0.8], "orig_size": (height, width)}


def test_a_tracked_object_is_what_moves(inputs):
    images = torch.rand(5, 48, 96, 3)
    depth = geometry_of(moge_geometry=moge_geometry(5, 48, 96))[0]
    camera = run("Exo2EgoCamera", lens="pinhole", width=96, height=48, fov=60.0, **dict.fromkeys(POSE, 0.0))[0]
    settings = {"background": "mean", "moving_parts": "mask, or estimated", "keep_moving": True, "stride": 1}
    given = {"images": images, "depth": depth, "camera": camera, "reliability": 0.5, **settings}
    given["moving_points"] = "by keep_moving"
    track = sam3_track(5, 48, 96)
    points = run("Exo2EgoPointCloud", sam3_track=track, track_objects="1", **given)[0]
    assert all(len(moving) > 1000 and float(moving[:, 0].max()) < 0 for moving in points.frame_points)
    every = run("Exo2EgoPointCloud", sam3_track=track, **given)[0]
    assert len(every.frame_points[0]) > 1.2 * len(points.frame_points[0])
    with pytest.raises(ValueError, match="Connect moving or sam3_track, not both"):
        run("Exo2EgoPointCloud", sam3_track=track, moving=torch.zeros(5, 48, 96), **given)
    with pytest.raises(ValueError, match="Objects are numbers from 0"):
        run("Exo2EgoPointCloud", sam3_track=track, track_objects="him", **given)
    aligned = run("Exo2EgoAlignDepth", metric=depth, method="vipe", momentum=0.99, sam3_track=track, track_objects="0")[
        0
    ]
    assert aligned.values.shape == depth.values.shape


POSE = ("x", "y", "z", "yaw", "pitch", "roll")


def test_a_scan_stands_for_the_background(inputs):
    images = torch.rand(5, 48, 96, 3)
    depth = geometry_of(moge_geometry=moge_geometry(5, 48, 96))[0]
    camera = run("Exo2EgoCamera", lens="pinhole", width=96, height=48, fov=60.0, **dict.fromkeys(POSE, 0.0))[0]
    settings = {"background": "mean", "moving_parts": "none", "keep_moving": True, "stride": 2, "reliability": 0.5}
    given = {"images": images, "depth": depth, "camera": camera, "moving_points": "by keep_moving", **settings}
    head = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    (inputs / "room.ply").write_text(f"{head}1 2 3\n4 5 6\n")
    points = run("Exo2EgoPointCloud", scan="room.ply", **given)[0]
    assert points.background_points.tolist() == [[1, 2, 3], [4, 5, 6]]
    plain = run("Exo2EgoPointCloud", **given)[0]
    assert len(plain.background_points) > 100
    assert [len(own) for own in points.frame_points] == [len(own) for own in plain.frame_points]
    splat = SimpleNamespace(positions=torch.ones(1, 3, 3), opacities=torch.ones(1, 3, 1), sh=torch.zeros(1, 3, 1, 3))
    points = run("Exo2EgoPointCloud", splat=splat, **given)[0]
    assert points.background_colors.unique().tolist() == [0.5]
    with pytest.raises(ValueError, match="Choose a scan or connect splat, not both"):
        run("Exo2EgoPointCloud", scan="room.ply", splat=splat, **given)
