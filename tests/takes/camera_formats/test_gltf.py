"""A camera as glTF: what a viewer of the file sees, files as Blender writes them, damage."""

from __future__ import annotations

import base64
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.camera_formats.gltf_read import read_gltf
from exo2ego.takes.camera_formats.gltf_write import LENS_KEY, gltf_text

LENS = Pinhole(300.0, 300.0, 200.0, 150.0)


def camera_of(n_frames: int, lens: object = LENS, size: tuple[int, int] = (400, 300)) -> Camera:
    poses = [pose_from_angles((0.1 * f, -1, 2 - 0.2 * f), (40.0 * f, 5.0 * f, 20 - f)) for f in range(n_frames)]
    return Camera(lens, *size, torch.stack(poses))


def written(folder: Path, content: dict) -> Path:
    path = folder / "camera.gltf"
    path.write_text(json.dumps(content))
    return path


def numbers(content: dict, accessor: int) -> np.ndarray:
    """An accessor's numbers, by the specification."""
    entry = content["accessors"][accessor]
    view = content["bufferViews"][entry["bufferView"]]
    data = base64.b64decode(content["buffers"][0]["uri"].split(",")[1])[view["byteOffset"] :][: view["byteLength"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
    return np.frombuffer(data, "<f4").reshape(entry["count"], width)


def test_a_viewer_sees_what_our_camera_sees():
    camera = camera_of(4)
    content = json.loads(gltf_text(camera, fps=25))
    (animation,) = content["animations"]
    times, places, turns = (numbers(content, number) for number in range(3))
    assert [channel["target"] for channel in animation["channels"]] == [
        {"node": 0, "path": "translation"},
        {"node": 0, "path": "rotation"},
    ]
    assert times[:, 0] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert content["accessors"][0]["max"] == [pytest.approx(0.12)]
    assert content["buffers"][0]["byteLength"] == 4 * 4 * (1 + 3 + 4)
    perspective = content["cameras"][0]["perspective"]
    point = torch.tensor([0.4, -0.8, 9.0], dtype=torch.float64)
    for frame in range(2):
        x, y, z, w = turns[frame].astype(float)
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        right, up, back = turn.T @ (np.array([0.4, 0.8, -9.0]) - places[frame])
        across = right / -back / math.tan(perspective["yfov"] / 2) / perspective["aspectRatio"]
        above = up / -back / math.tan(perspective["yfov"] / 2)
        pixel = camera.project(point, frame)[0].tolist()
        assert pixel == pytest.approx([(across + 1) * 200, (1 - above) * 150], abs=1e-3)


def test_neighbouring_quaternions_are_on_one_side():
    content = json.loads(gltf_text(camera_of(30), fps=25))
    turns = numbers(content, 2)
    assert ((turns[1:] * turns[:-1]).sum(axis=1) > 0).all()


def test_a_fisheye_is_said_in_the_file_and_comes_back(tmp_path):
    camera = camera_of(3, preset_lens(LensPreset.EGOX_RELEASE, 448, 448), (448, 448))
    content = json.loads(gltf_text(camera, fps=24))
    assert "stands in for the Fisheye624 lens" in content["cameras"][0]["extras"]["exo2ego_note"]
    assert read_gltf(written(tmp_path, content)).lens == camera.lens
    content["cameras"][0]["perspective"]["yfov"] = 1.0  # somebody chose another lens
    again = read_gltf(written(tmp_path, content))
    assert (again.width, again.height) == (448, 448)
    assert again.lens.fy == pytest.approx(224 / math.tan(0.5))


def blender(folder: Path, camera: Camera, **changes: object) -> Path:
    """The camera as another program writes it: below a turned, moved and scaled node, without our numbers."""
    content = json.loads(gltf_text(camera, fps=24))
    del content["cameras"][0]["extras"]
    half = math.sqrt(0.5)
    content["nodes"] += [
        {"name": "rig", "children": [0], "translation": [1, 2, 3], "rotation": [0, half, 0, half], "scale": [2, 2, 2]}
    ]
    content["scenes"][0]["nodes"] = [1]
    return written(folder, {**content, **changes})


def rigged(camera: Camera) -> torch.Tensor:
    """What the rig does to our camera-to-world matrices: twice as far, a quarter turn about y up, moved."""
    rig = torch.eye(4, dtype=torch.float64)
    rig[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    rig[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).double()
    poses = flip @ camera.camera_to_world @ flip
    poses[:, :3, 3] *= 2
    return flip @ rig @ poses @ flip


def test_a_camera_on_a_rig(tmp_path):
    camera = camera_of(5)
    path = blender(tmp_path, camera)
    with pytest.raises(ValueError, match="does not store the image size in pixels: give width and height"):
        read_gltf(path)
    again = read_gltf(path, height=600)
    assert (again.width, again.height) == (800, 600)
    assert again.lens.fy == pytest.approx(600)
    assert torch.allclose(again.camera_to_world, rigged(camera), atol=1e-5)


def test_a_file_of_blenders_own():
    """`camera_of(5)` opened in Blender 4.2, put on a rig as in `blender`, and exported with custom properties."""
    again = read_gltf(Path(__file__).parent / "files" / "blender_4.2_camera.glb")
    assert again.n_frames == 5
    assert again.lens == LENS
    assert float((again.camera_to_world - rigged(camera_of(5))).abs().max()) < 2e-6


def test_numbers_in_a_file_beside_it_or_in_a_glb(tmp_path):
    camera = camera_of(5)
    content = json.loads(gltf_text(camera, fps=24))
    data = base64.b64decode(content["buffers"][0]["uri"].split(",")[1])
    (tmp_path / "my camera.bin").write_bytes(data)
    content["buffers"] = [{"byteLength": len(data), "uri": "my%20camera.bin"}]
    expected = read_gltf(written(tmp_path, json.loads(gltf_text(camera, fps=24))))
    assert torch.equal(read_gltf(written(tmp_path, content)).world_to_camera, expected.world_to_camera)
    content["buffers"] = [{"byteLength": len(data)}]
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(data), 0x004E4942) + data
    path = tmp_path / "camera.glb"
    path.write_bytes(struct.pack("<3I", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    assert torch.equal(read_gltf(path).world_to_camera, expected.world_to_camera)


def test_frames_between_keys_are_filled(tmp_path):
    """Rotation has a key a frame, position only the first and the last."""
    camera = camera_of(5)
    content = json.loads(gltf_text(camera, fps=24))
    data = base64.b64decode(content["buffers"][0]["uri"].split(",")[1])
    ends = np.array([0, 4 / 24, 0, 1, -2, 0.8, 1, -0.4], "<f4").tobytes()
    content["bufferViews"] += [
        {"buffer": 0, "byteOffset": len(data), "byteLength": 8},
        {"buffer": 0, "byteOffset": len(data) + 8, "byteLength": 24},
    ]
    content["accessors"] += [
        {"bufferView": 3, "componentType": 5126, "count": 2, "type": "SCALAR"},
        {"bufferView": 4, "componentType": 5126, "count": 2, "type": "VEC3"},
    ]
    content["buffers"] = [{"uri": "data:;base64," + base64.b64encode(data + ends).decode(), "byteLength": 0}]
    content["animations"][0]["samplers"][0] = {"input": 3, "output": 4}
    again = read_gltf(written(tmp_path, content))
    assert again.n_frames == 5
    assert torch.allclose(again.rotations, camera.rotations, atol=1e-6)
    x = torch.linspace(0, 0.8, 5).double()
    assert torch.allclose(again.centers, torch.stack([x, -1 - 0 * x, 2 - 2 * x], dim=1), atol=1e-6)
    content["animations"][0]["samplers"][0]["interpolation"] = "STEP"
    assert read_gltf(written(tmp_path, content)).centers[:, 0].tolist() == pytest.approx([0, 0, 0, 0, 0.8])


def change(path: str, value: object):
    """Set one place of the file, as in `nodes.0.camera`."""

    def apply(content: dict) -> None:
        *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in way:
            content = content[key]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (change("asset", {"version": "1.0"}), "not glTF 2.0"),
        (change("nodes", []), "expected one camera, found"),
        (change("nodes", [{"camera": 0, "name": "a"}, {"camera": 0, "name": "b"}]), r"found \['a', 'b'\]"),
        (change("nodes.0.camera", 3), "missing or of the wrong kind"),
        (change("nodes.0.children", [0]), "their own parents"),
        (change("cameras.0.type", "orthographic"), "orthographic"),
        (change("cameras.0.extras", 7), "missing or of the wrong kind"),
        (change("accessors.1.componentType", 5123), "accessor 1 is not plain float32"),
        (change("accessors.1.count", 4), "times of its animation"),
        (change("accessors.1.count", 10**12), "buffer is smaller"),
        (change("animations.0.samplers.0.interpolation", "CUBICSPLINE"), "CUBICSPLINE"),
        (change("animations.0.samplers.0.input", 99), "missing or of the wrong kind"),
        (change("buffers.0.uri", "data:;base64,AAAA"), "contains no camera"),
        (change("buffers.0.uri", "data:;base64,!!!"), "contains no camera"),
        (change("buffers.0.uri", "../secret.bin"), "points outside its folder"),
        (change("buffers.0.uri", "%2e%2e/secret.bin"), "points outside its folder"),
        (change("buffers.0.uri", "/etc/hostname"), "leads out"),
        (change("buffers.0.uri", "http://example.com/a.bin"), "contains no camera"),
        (change("buffers.0.uri", 5), "missing or of the wrong kind"),
    ],
)
def test_refuses_damaged_files(tmp_path, damage, match):
    (tmp_path.parent / "secret.bin").write_bytes(bytes(400))
    content = json.loads(gltf_text(camera_of(3), fps=24))
    damage(content)
    with pytest.raises(ValueError, match=match):
        read_gltf(written(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "data"), [("a.gltf", b"{"), ("a.gltf", b"[1]"), ("a.glb", b"glTF"), ("a.glb", bytes(40))]
)
def test_refuses_other_files(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match="contains no camera that this pack can read"):
        read_gltf(tmp_path / name)


def test_refuses_a_frame_rate_of_zero():
    with pytest.raises(ValueError, match="Frames a second"):
        gltf_text(camera_of(2), fps=0)


def test_our_lens_is_where_the_file_says(tmp_path):
    content = json.loads(gltf_text(camera_of(1), fps=24))
    assert "animations" not in content
    assert content["cameras"][0]["extras"][LENS_KEY]["fx"] == 300
    assert read_gltf(written(tmp_path, content)).is_fixed
