"""Takes and cameras by name, as the nodes offer and load them."""

import json
import os

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.camera_formats.read import CameraRole
from exo2ego.takes.library import CAMERAS, EXAMPLE_ROOM, TAKES

from .conftest import N_FRAMES

LENS = LensPreset.EGOX_RELEASE


@pytest.fixture
def root(tmp_path, dataset_folder):
    """An input folder with a dataset, and `small_take` without its videos."""
    return tmp_path


def write_camera(path, n_frames=1):
    path.write_text(Camera(Pinhole(50, 50, 32, 24), 64, 48, torch.eye(4).repeat(n_frames, 1, 1)).to_json())


# Takes --------------------------------------------------------------------------------------------------------------


def test_takes_are_listed(root):
    assert TAKES.names(root) == [EXAMPLE_ROOM, "dataset#other", "dataset#small_take", "small_take"]


FOREIGN = [
    "[]",
    "3",
    "{",
    "{}",
    '{"test_datasets": null}',
    '{"test_datasets": ["a"]}',
    '{"test_datasets": 1}',
    '{"test_datasets": {"a": 1}}',
    '{"test_datasets": [{}]}',
    '{"test_datasets": [{"exo_path": null}]}',
    '{"test_datasets": [{"exo_path": "../exo.mp4"}]}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", FOREIGN, ids=lambda text: text[:40])
def test_a_foreign_meta_json_hides_nothing(root, text):
    (root / "foreign").mkdir()
    (root / "foreign" / "meta.json").write_text(text)
    (root / "odd").mkdir()
    (root / "odd" / "meta.json").mkdir()
    assert TAKES.names(root) == [EXAMPLE_ROOM, "dataset#other", "dataset#small_take", "small_take"]
    assert "foreign/meta.json" in CAMERAS.names(root)
    with pytest.raises(ValueError, match="meta"):
        TAKES.check(root, "foreign#a")


def test_what_is_listed_is_accepted(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "meta.json").write_text((root / "small_take" / "meta.json").read_text())
    (root / "outward").symlink_to(outside)
    (root / "outward.json").symlink_to(outside / "meta.json")
    (root / "inward").symlink_to(root / "small_take")
    takes, cameras = TAKES.names(root), CAMERAS.names(root)
    assert "inward" in takes
    assert "inward/meta.json" in cameras
    assert not [name for name in takes + cameras if "outward" in name]
    for name in takes:
        TAKES.check(root, name)
    for name in cameras:
        CAMERAS.check(root, name)
    with pytest.raises(ValueError, match="leads out"):
        TAKES.check(root, "outward")


def test_a_list_is_not_parsed_again(root):
    """The new content has the old size and time: only a second look into the file would show it."""
    path = root / "dataset" / "meta.json"
    os.utime(path, (1_600_000_000,) * 2)
    before = TAKES.names(root)
    path.write_text(path.read_text().replace("/other/", "/otter/"))
    os.utime(path, (1_600_000_000,) * 2)
    assert TAKES.names(root) == before
    os.utime(path, (1_600_000_001,) * 2)
    assert "dataset#otter" in TAKES.names(root)


def test_names_with_a_hash(root, dataset_folder):
    dataset_folder.rename(root / "shot#1")
    assert "shot#1#small_take" in TAKES.names(root)
    TAKES.check(root, "shot#1#small_take")
    assert TAKES.load(root, "shot#1#small_take", lens=LENS, max_frames=49).n_frames == N_FRAMES
    write_camera(root / "camera#2.json")
    CAMERAS.check(root, "camera#2.json")
    assert CAMERAS.load(root, "camera#2.json", role=CameraRole.EGO, lens=LENS).width == 64
    assert CAMERAS.files(root, "camera#2.json") == [root / "camera#2.json"]


def test_the_files_of_a_take(root, dataset_folder):
    maps = dataset_folder / "depth_maps" / "small_take"
    expected = {
        dataset_folder / "meta.json",
        dataset_folder / "videos" / "small_take" / "exo.mp4",
        dataset_folder / "videos" / "small_take" / "ego_Prior.mp4",
        *(maps / f"frame_{number}.npy" for number in range(7, 12)),
    }
    (dataset_folder / "videos" / "other").mkdir()
    (dataset_folder / "videos" / "other" / "exo.mp4").touch()
    assert set(TAKES.files(root, "dataset#small_take")) == expected
    write_camera(root / "small_take" / "exo_camera.json")
    (root / "small_take" / "notes.txt").touch()
    names = {path.name for path in TAKES.files(root, "small_take")}
    assert names == {"meta.json", "depth_f16.npz", "exo_camera.json"}


def test_frames_and_progress_reach_the_reader(root):
    calls = []
    take = TAKES.load(
        root, "dataset#small_take", lens=LENS, max_frames=2, progress=lambda done, total: calls.append((done, total))
    )
    assert take.n_frames == 2
    assert calls == [(done, 6) for done in range(1, 7)]  # two videos and the maps, two frames each and no more


# Cameras ------------------------------------------------------------------------------------------------------------


def test_cameras_are_listed(root):
    write_camera(root / "camera.json")
    (root / "dataset" / "CAMERA.NPZ").touch()
    assert CAMERAS.names(root) == [
        EXAMPLE_ROOM,
        "camera.json",
        "dataset/CAMERA.NPZ",
        "dataset/meta.json#other",
        "dataset/meta.json#small_take",
        "small_take/depth_f16.npz",
        "small_take/meta.json",
    ]


def test_a_camera_of_a_dataset(root, dataset_folder):
    ego = CAMERAS.load(root, "dataset/meta.json#small_take", role=CameraRole.EGO, lens=LENS)
    exo = CAMERAS.load(root, "dataset/meta.json#small_take", role=CameraRole.EXO, lens=LENS, width=64, height=32)
    assert (ego.n_frames, ego.width) == (N_FRAMES, 448)
    assert (exo.n_frames, exo.width, exo.height) == (1, 64, 32)
    with pytest.raises(ValueError, match="Name one"):
        CAMERAS.load(root, "dataset/meta.json", role=CameraRole.EGO, lens=LENS)


def test_a_dataset_file_of_another_name(root, dataset_folder):
    """The chosen file counts, not the meta.json beside it."""
    content = json.loads((dataset_folder / "meta.json").read_text())
    entry = {**content["test_datasets"][1], "exo_path": "./videos/mine/exo.mp4"}
    (dataset_folder / "mine.json").write_text(json.dumps({"test_datasets": [entry]}))
    for name in ("dataset/mine.json", "dataset/mine.json#mine"):
        CAMERAS.check(root, name)
        assert CAMERAS.load(root, name, role=CameraRole.EGO, lens=LENS).n_frames == N_FRAMES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dataset", "is a folder"),
        ("dataset/meta.json#absent", r"no take 'absent'; it has \['other', 'small_take'\]"),
        ("camera.json#absent", "not an EgoX dataset"),
        ("absent.json", "There is no 'absent.json'"),
        ("../x.json#a", "outside"),
    ],
)
def test_a_name_that_is_no_camera(root, name, message):
    write_camera(root / "camera.json")
    with pytest.raises(ValueError, match=message):
        CAMERAS.check(root, name)
    with pytest.raises(ValueError, match=message):
        CAMERAS.load(root, name, role=CameraRole.EGO, lens=LENS)


@pytest.mark.parametrize("text", ["[]", '{"format": "other"}', '{"format": "exo2ego.camera", "version": 1}'])
def test_what_is_wrong_in_a_file_is_told_with_its_name(root, text):
    (root / "path.json").write_text(text)
    with pytest.raises(ValueError, match=r"path\.json"):
        CAMERAS.load(root, "path.json", role=CameraRole.EGO, lens=LENS)


def test_the_example_camera_keeps_its_clip_s_shape(root):
    assert CAMERAS.load(root, EXAMPLE_ROOM, role=CameraRole.EXO, lens=LENS, width=392).height == 224
    assert CAMERAS.load(root, EXAMPLE_ROOM, role=CameraRole.EGO, lens=LENS, width=224).height == 224
    with pytest.raises(ValueError, match="Crop"):
        CAMERAS.load(root, EXAMPLE_ROOM, role=CameraRole.EXO, lens=LENS, width=448, height=448)


# Links --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("take", "link"),
    [
        ("small_take", "small_take/meta.json"),
        ("small_take", "small_take/depth_f16.npz"),
        ("small_take", "small_take/exo_camera.json"),
        ("dataset#small_take", "dataset/meta.json"),
        ("dataset#small_take", "dataset/videos"),
        ("dataset#small_take", "dataset/videos/small_take"),
        ("dataset#small_take", "dataset/videos/small_take/exo.mp4"),
        ("dataset#small_take", "dataset/videos/small_take/ego_Prior.mp4"),
        ("dataset#small_take", "dataset/depth_maps"),
        ("dataset#small_take", "dataset/depth_maps/small_take/frame_9.npy"),
    ],
)
def test_a_link_in_a_take_that_leads_out(root, tmp_path_factory, take, link):
    """It is refused by name, unread; one that stays inside is followed."""
    write_camera(root / "small_take" / "exo_camera.json", N_FRAMES)
    path, outside = root / link, tmp_path_factory.mktemp("outside") / "secret"
    path.rename(outside)
    path.symlink_to(outside)
    for use in (TAKES.check, TAKES.files):
        with pytest.raises(ValueError, match=r"leads out of .*copy what it leads to") as error:
            use(root, take)
        assert f"the link {path}," in str(error.value)
    with pytest.raises(ValueError, match="leads out"):
        TAKES.load(root, take, lens=LENS, max_frames=49)
    if path.name == "meta.json":
        assert take not in TAKES.names(root), "what it says was read"
    path.unlink()
    outside.rename(root / "kept")
    path.symlink_to(root / "kept")
    TAKES.check(root, take)
