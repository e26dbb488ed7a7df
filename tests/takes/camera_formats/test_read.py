"""Cameras from our JSON, from NPZ and from EgoX's meta.json."""

import json

import numpy as np
import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.camera_formats.read import CameraRole, read_camera
from exo2ego.takes.egox.read import read_take

POSES = np.eye(4)[None].repeat(3, axis=0)
POSES[:, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
POSES[:, :3, 3] = [[1, 2, 3], [1, 2, 4], [1, 2, 5]]
ARRAYS = {"intrinsics": np.array([50.0, 51.0, 32.0, 24.0]), "width": 64, "height": 48}


def _same(first: Camera, second: Camera) -> bool:
    return (
        first.lens == second.lens
        and (first.width, first.height) == (second.width, second.height)
        and torch.allclose(first.world_to_camera, second.world_to_camera)
    )


def test_our_json(tmp_path):
    camera = Camera(Fisheye624(190, 220, 224, radial=(0.1,) * 6), 448, 448, torch.from_numpy(POSES))
    (tmp_path / "camera.json").write_text(camera.to_json())
    assert _same(read_camera(tmp_path / "camera.json"), camera)
    half = read_camera(tmp_path / "camera.json", width=224, height=224)
    assert _same(half, camera.resized(224, 224))


@pytest.mark.parametrize("poses", [POSES, POSES[:, :3], POSES[0]])
def test_npz_with_world_to_camera(tmp_path, poses):
    np.savez(tmp_path / "camera.npz", world_to_camera=poses, **ARRAYS)
    expected = Camera(Pinhole(50, 51, 32, 24), 64, 48, torch.from_numpy(poses))
    assert _same(read_camera(tmp_path / "camera.npz"), expected)


def test_npz_with_camera_to_world_and_matrix_intrinsics(tmp_path):
    matrix = np.array([[50.0, 0, 32], [0, 51, 24], [0, 0, 1]])
    np.savez(tmp_path / "camera.npz", camera_to_world=np.linalg.inv(POSES), **{**ARRAYS, "intrinsics": matrix})
    expected = Camera(Pinhole(50, 51, 32, 24), 64, 48, torch.from_numpy(POSES))
    assert _same(read_camera(tmp_path / "camera.npz"), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": None}, "intrinsics, width, height"),
        ({"world_to_camera": None}, "either world_to_camera or camera_to_world"),
        ({"camera_to_world": POSES}, "either world_to_camera or camera_to_world"),
        ({"intrinsics": np.ones(3)}, "3 x 3 or"),
        ({"width": np.ones(2)}, "single numbers"),
        ({"world_to_camera": POSES * [1, 1, -1, 1]}, "reflected"),
        ({"world_to_camera": POSES * 0}, "last row"),
        ({"world_to_camera": np.full((3, 4), np.nan)}, "NaN"),
    ],
)
def test_npz_that_is_no_camera(tmp_path, change, message):
    arrays = {"world_to_camera": POSES, **ARRAYS, **change}
    np.savez(tmp_path / "camera.npz", **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        read_camera(tmp_path / "camera.npz")


def test_a_pickled_npz(tmp_path):
    np.savez(tmp_path / "camera.npz", world_to_camera=np.array([{}], dtype=object), **ARRAYS)
    with pytest.raises(ValueError, match="pickled"):
        read_camera(tmp_path / "camera.npz")


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[]"), ("b.json", '{"width": 3}'), ("c.json", "{"), ("d.txt", "")]
)
def test_other_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"Expected|JSON|camera file"):
        read_camera(tmp_path / name)


def test_meta_json_of_a_take(take_folder):
    take = read_take(take_folder.path)
    exo = read_camera(take_folder.path / "meta.json", CameraRole.EXO, width=64, height=32)
    ego = read_camera(take_folder.path / "meta.json", CameraRole.EGO, width=32, height=32)
    assert _same(exo, take.exo_camera)
    assert _same(ego, take.ego_camera)
    assert (ego.width, read_camera(take_folder.path / "meta.json").width) == (32, 448)


def test_meta_json_of_a_dataset(dataset_folder):
    ego = read_camera(dataset_folder / "meta.json", CameraRole.EGO, take="small_take")
    assert ego.n_frames == 5
    with pytest.raises(ValueError, match=r"#NAME with NAME in \['other', 'small_take'\]"):
        read_camera(dataset_folder / "meta.json")
    with pytest.raises(ValueError, match=r"no take 'absent'; it has \['other', 'small_take'\]"):
        read_camera(dataset_folder / "meta.json", take="absent")


def test_the_chosen_file_counts_and_a_single_entry_needs_no_name(dataset_folder):
    entries = json.loads((dataset_folder / "meta.json").read_text())["test_datasets"]
    entries[0]["ego_extrinsics"] = entries[0]["ego_extrinsics"][:3]
    (dataset_folder / "one.json").write_text(json.dumps({"test_datasets": entries[:1]}))
    assert read_camera(dataset_folder / "one.json").n_frames == 3
    assert read_camera(dataset_folder / "one.json", take="other").n_frames == 3
    with pytest.raises(ValueError, match="no take 'small_take'"):
        read_camera(dataset_folder / "one.json", take="small_take")


def test_one_side_follows_the_other(tmp_path, take_folder):
    (tmp_path / "camera.json").write_text(Camera(Pinhole(50, 50, 32, 24), 64, 48, torch.eye(4)).to_json())
    assert read_camera(tmp_path / "camera.json", width=32).height == 24
    assert read_camera(tmp_path / "camera.json", height=96).width == 128
    meta = take_folder.path / "meta.json"
    assert read_camera(meta, CameraRole.EXO, width=392).height == 224
    assert read_camera(meta, CameraRole.EXO, height=224).width == 392
    assert read_camera(meta, CameraRole.EGO, width=300).height == 300


def test_another_shape_is_refused(tmp_path, take_folder):
    (tmp_path / "camera.json").write_text(Camera(Pinhole(600, 600, 320, 240), 640, 480, torch.eye(4)).to_json())
    with pytest.raises(ValueError, match=r"camera\.json.*Crop"):
        read_camera(tmp_path / "camera.json", width=784, height=448)
    # meta.json describes 720 x 320: its clip is the middle of that, and never more than that.
    meta = take_folder.path / "meta.json"
    square = read_camera(meta, CameraRole.EXO, width=320, height=320)
    assert (square.lens.fx, square.lens.fy, square.lens.cx) == (500, 510, 160.5)
    with pytest.raises(ValueError, match=r"800 x 320 are wider than .*\(720 x 320\).*Crop"):
        read_camera(meta, CameraRole.EXO, width=800, height=320)


@pytest.mark.parametrize("intrinsics", [[[1.0]], [[500, 0, 360], [0, 510, 0], [0, 0, 1]]])
def test_a_meta_json_without_an_aspect_ratio(take_folder, intrinsics):
    take_folder.write_meta({**take_folder.meta(), "camera_intrinsics": intrinsics})
    with pytest.raises(ValueError, match="3 x 3 matrix with positive focal lengths"):
        read_camera(take_folder.path / "meta.json", CameraRole.EXO)


@pytest.mark.parametrize("name", ["joker", "iiith_cooking_57_2_2451_2499"])
def test_meta_json_agrees_with_the_whole_take(shared_take, name):
    take = read_take(shared_take(name))
    assert _same(read_camera(shared_take(name) / "meta.json", CameraRole.EXO), take.exo_camera)
    assert _same(read_camera(shared_take(name) / "meta.json", CameraRole.EGO), take.ego_camera)
