"""Takes in EgoX's two layouts: what is read, and what each bad file says."""

import json

import numpy as np
import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.take_kind import TakeKind
from exo2ego.takes.egox.read import dataset_entry, names_in_meta, read_dataset_take, read_take
from exo2ego.takes.video import write_video

from ..conftest import HEIGHT, MAP_WIDTH, N_FRAMES, WIDTH, depth_maps, raw_ego_pose


def test_a_take_folder(take_folder):
    take = read_take(take_folder.path)
    assert take.name == "small_take"
    assert take.n_frames == N_FRAMES
    assert take.exo.shape == (N_FRAMES, HEIGHT, WIDTH, 3)
    assert take.fps == 20
    assert take.prompt == "[Exo view] a room [Ego view] a table"
    assert take.ego_prior.shape == (N_FRAMES, HEIGHT, HEIGHT, 3)
    assert take.ego_truth is None
    # 72 columns of depth for a clip of aspect 64 : 32: four are lost on each side.
    assert torch.equal(take.depth.metric(), torch.from_numpy(depth_maps())[:, :, 4:68].float())


def test_the_exo_camera_follows_the_release(take_folder):
    """X = (u - W / 2) / fx * z with integer u, on the uncropped map, is what the release computes."""
    take = read_take(take_folder.path)
    points = take.exo_camera.unproject(take.depth.metric())
    u, v, frame = 40, 7, 2
    z = 1 + (u + 4) / 100 + frame
    fx, fy = 500 * (MAP_WIDTH / 2) / 360, 510 * (HEIGHT / 2) / 160
    local = np.array([(u + 4 - MAP_WIDTH / 2) / fx * z, (v - HEIGHT / 2) / fy * z, z])
    expected = local - np.array([0.25, 0, 2.0])
    assert points[frame, v, u].numpy() == pytest.approx(expected, abs=2e-3)  # depth is stored in half precision


IDENTITY = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("extrinsics", "kind"),
    [
        (None, TakeKind.EGO_EXO4D),
        (IDENTITY, TakeKind.FILM_CLIP),
        ([[1.0, 0, 0, -0.0], [1e-8, 1, 0, 0], [0, 0, 1, 0]], TakeKind.FILM_CLIP),
        ([[1, 0, 0, 1e-3], [0, 1, 0, 0], [0, 0, 1, 0]], TakeKind.EGO_EXO4D),
    ],
    ids=str,
)
@pytest.mark.parametrize("camera_beside", [False, True])
def test_a_take_tells_its_kind(take_folder, extrinsics, kind, camera_beside):
    if extrinsics is not None:
        take_folder.write_meta({**take_folder.meta(), "camera_extrinsics": extrinsics})
    if camera_beside:
        camera = Camera(Pinhole(50, 51, 30, 17), WIDTH, HEIGHT, torch.eye(4))
        (take_folder.path / "exo_camera.json").write_text(camera.to_json())
    camera = read_take(take_folder.path).exo_camera
    for seen in (camera, camera.resized(2 * WIDTH, 2 * HEIGHT), camera.cropped(0, 0, 8, 8), camera[0].expanded(3)):
        assert seen.take_kind is kind
    assert camera.turned_clockwise().take_kind is kind
    assert read_take(take_folder.path).ego_camera.take_kind is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("iiith_cooking_57_2_2451_2499", TakeKind.EGO_EXO4D), ("joker", TakeKind.FILM_CLIP)],
)
def test_the_kinds_of_the_shared_takes(shared_take, name, kind):
    assert read_take(shared_take(name), max_frames=1).exo_camera.take_kind is kind


def test_ego_poses_are_turned_upright(take_folder):
    """A point to the right of an upright image lies towards -y of the sensor as it is mounted."""
    take = read_take(take_folder.path, lens=Pinhole(20, 20, 16, 16))
    camera = take.ego_camera
    assert (camera.width, camera.height, camera.n_frames) == (HEIGHT, HEIGHT, N_FRAMES)
    for frame in range(N_FRAMES):
        raw = np.array(raw_ego_pose(frame))
        world = torch.tensor(raw[:, :3].T @ (np.array([0.0, -1.0, 4.0]) - raw[:, 3]))
        pixels, z, valid = camera.project(world, frame)
        assert pixels.tolist() == pytest.approx([16 + 20 / 4, 16], abs=1e-6)
        assert float(z) == pytest.approx(4, abs=1e-6)
        assert valid


def test_the_default_lens_is_the_release_s(take_folder):
    expected = preset_lens(LensPreset.EGOX_RELEASE, HEIGHT, HEIGHT)
    assert read_take(take_folder.path).ego_camera.lens == expected


def test_depth_of_another_resolution_is_brought_to_the_clip(take_folder):
    take_folder.write_depth(depth_maps()[:, ::2, ::2])
    take = read_take(take_folder.path)
    assert take.depth.values.shape == (N_FRAMES, HEIGHT, WIDTH)
    assert take.exo_camera.lens.fx == pytest.approx(500 * (MAP_WIDTH / 2) / 360)


def test_one_spare_frame_does_not_count(take_folder):
    take_folder.write_clip("exo.mp4", N_FRAMES + 1)
    take_folder.write_clip("ego_GT.mp4", N_FRAMES + 1, width=HEIGHT)
    take = read_take(take_folder.path)
    assert take.n_frames == len(take.ego_truth) == N_FRAMES


@pytest.mark.parametrize("n_frames", [N_FRAMES - 1, N_FRAMES + 2])
def test_a_clip_of_another_length(take_folder, n_frames):
    take_folder.write_clip("exo.mp4", n_frames)
    with pytest.raises(ValueError, match=rf"exo\.mp4.*{n_frames} frames.*{N_FRAMES} poses"):
        read_take(take_folder.path)


def test_only_the_first_frames_are_read(dataset_folder):
    """What lies behind them may be torn or too long: it is not looked at."""
    folder = dataset_folder / "depth_maps" / "small_take"
    for frame in range(2, N_FRAMES):
        (folder / f"frame_{frame + 7}.npy").write_bytes(b"torn")
    long = torch.zeros(N_FRAMES + 20, HEIGHT, WIDTH, 3)
    write_video(dataset_folder / "videos" / "small_take" / "exo.mp4", long, fps=20)
    take = read_dataset_take(dataset_folder, "small_take", max_frames=2)
    assert take.n_frames == take.ego_camera.n_frames == len(take.ego_prior) == 2
    assert torch.equal(take.depth.metric(), torch.from_numpy(depth_maps(2))[:, :, 4:68].float())


@pytest.mark.parametrize("max_frames", [3, N_FRAMES, 100])
def test_max_frames(take_folder, max_frames):
    whole, cut = read_take(take_folder.path), read_take(take_folder.path, max_frames=max_frames)
    n_frames = min(max_frames, N_FRAMES)
    assert cut.n_frames == n_frames
    assert torch.equal(cut.exo, whole.exo[:n_frames])
    assert torch.equal(cut.depth.values, whole.depth.values[:n_frames])
    assert torch.equal(cut.ego_camera.world_to_camera, whole.ego_camera.world_to_camera[:n_frames])


def test_max_frames_and_parts_that_are_too_short(take_folder):
    take_folder.write_clip("exo.mp4", 2)
    with pytest.raises(ValueError, match=rf"exo\.mp4.*2 frames.*{N_FRAMES} poses"):
        read_take(take_folder.path, max_frames=3)
    with pytest.raises(ValueError, match="at least one frame"):
        read_take(take_folder.path, max_frames=0)
    take_folder.write_clip("exo.mp4")
    take_folder.write_depth(depth_maps(N_FRAMES - 1))
    with pytest.raises(ValueError, match="depth"):
        read_take(take_folder.path, max_frames=3)


def test_progress(dataset_folder):
    calls = []
    read_dataset_take(dataset_folder, "small_take", progress=lambda done, total: calls.append((done, total)))
    total = 3 * N_FRAMES  # two videos and a map a frame
    assert calls == [(done, total) for done in range(1, total + 1)]

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        read_dataset_take(dataset_folder, "small_take", progress=cancel)


def test_an_exo_camera_beside_the_clip_counts(take_folder):
    path = take_folder.path / "exo_camera.json"
    path.write_text(Camera(Pinhole(50, 50, 60, 32), 2 * WIDTH, 2 * HEIGHT, torch.eye(4)).to_json())
    assert read_take(take_folder.path).exo_camera.lens == Pinhole(25, 25, 30, 16)
    path.write_text(Camera(Pinhole(50, 50, 60, 32), WIDTH, WIDTH, torch.eye(4)).to_json())
    with pytest.raises(ValueError, match=r"exo_camera\.json is not the camera of this clip.*Crop"):
        read_take(take_folder.path)


def test_a_moving_exo_camera_beside_the_clip_is_cut_too(take_folder):
    path = take_folder.path / "exo_camera.json"
    poses = torch.eye(4).repeat(N_FRAMES, 1, 1)
    path.write_text(Camera(Pinhole(50, 50, 32, 16), WIDTH, HEIGHT, poses).to_json())
    assert read_take(take_folder.path, max_frames=2).exo_camera.n_frames == 2
    path.write_text(Camera(Pinhole(50, 50, 32, 16), WIDTH, HEIGHT, poses[:3]).to_json())
    with pytest.raises(ValueError, match=r"exo camera.*3 frames"):
        read_take(take_folder.path, max_frames=2)


def test_coarse_maps_of_a_shape_that_whole_columns_miss(take_folder):
    """12 rows and a clip of 64 x 30 need 25.6 columns: depth and camera take the same 26."""
    write_video(take_folder.path / "exo.mp4", torch.zeros(N_FRAMES, 30, WIDTH, 3), fps=20)
    take_folder.write_depth(depth_maps()[:, :12, :27])
    take = read_take(take_folder.path)
    assert take.depth.values.shape == (N_FRAMES, 30, WIDTH)
    assert take.exo_camera.lens.fx == pytest.approx(500 * 27 / 720 * WIDTH / 26)


def test_depth_of_another_length(take_folder):
    take_folder.write_depth(depth_maps(N_FRAMES - 1))
    with pytest.raises(ValueError, match=rf"depth.*{N_FRAMES - 1} frames.*{N_FRAMES} poses"):
        read_take(take_folder.path)


@pytest.mark.parametrize("key", ["camera_intrinsics", "camera_extrinsics", "ego_extrinsics", "prompt"])
def test_a_missing_key_is_named_with_the_file_and_what_it_has(take_folder, key):
    entry = take_folder.meta()
    del entry[key]
    take_folder.write_meta(entry)
    with pytest.raises(ValueError, match=rf"meta\.json lacks the key '{key}'; it has \[.*'exo_path'"):
        read_take(take_folder.path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("camera_intrinsics", [[500, 0, 360], [0, 510]], "is an array of numbers, got"),
        ("camera_intrinsics", [[500, 0, 0], [0, 510, 0], [0, 0, 1]], "positive focal lengths"),
        ("ego_extrinsics", "none", "is an array of numbers, got"),
        ("camera_extrinsics", [[0, 0, 0, 0]] * 3, "singular"),
        ("camera_extrinsics", [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "reflected"),
    ],
)
def test_a_value_that_is_no_camera(take_folder, key, value, message):
    take_folder.write_meta({**take_folder.meta(), key: value})
    with pytest.raises(ValueError, match=message):
        read_take(take_folder.path)


def test_depth_that_does_not_cover_the_clip(take_folder):
    take_folder.write_depth(depth_maps()[:, :, :50])
    with pytest.raises(ValueError, match="do not cover"):
        read_take(take_folder.path)


@pytest.mark.parametrize(
    ("name", "message"), [("exo.mp4", "no video"), ("meta.json", "no file"), ("depth_f16.npz", "no depth")]
)
def test_a_missing_file(take_folder, name, message):
    (take_folder.path / name).unlink()
    with pytest.raises(ValueError, match=message):
        read_take(take_folder.path)


def test_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        read_take(tmp_path / "absent")


def test_the_dataset_layout(dataset_folder):
    take = read_dataset_take(dataset_folder, "small_take")
    assert take.name == "small_take"
    assert take.prompt.startswith("[Exo view]")
    assert torch.equal(take.depth.metric(), torch.from_numpy(depth_maps())[:, :, 4:68].float())
    assert take.ego_prior is not None


def test_the_dataset_layout_with_one_map_file_a_clip(dataset_folder):
    maps = dataset_folder / "depth_maps" / "small_take"
    for file in maps.iterdir():
        file.unlink()
    np.save(maps / "depth.npy", depth_maps())
    take = read_dataset_take(dataset_folder, "small_take")
    assert torch.equal(take.depth.metric(), torch.from_numpy(depth_maps())[:, :, 4:68].float())


def test_a_dataset_without_the_take(dataset_folder):
    with pytest.raises(ValueError, match=r"no take 'absent'; it has \['other', 'small_take'\]"):
        read_dataset_take(dataset_folder, "absent")


@pytest.mark.parametrize(
    "content",
    [{}, [], {"test_datasets": None}, {"test_datasets": {"a": 1}}, {"test_datasets": ["a"]}, {"test_datasets": [None]}],
)
def test_a_dataset_of_something_else(dataset_folder, content):
    (dataset_folder / "meta.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected a"):
        dataset_entry(dataset_folder / "meta.json", "small_take")
    assert names_in_meta(dataset_folder / "meta.json") == ()


def test_a_dataset_given_as_a_take(dataset_folder):
    with pytest.raises(ValueError, match="#NAME"):
        read_take(dataset_folder)


def test_a_take_given_as_a_dataset(take_folder):
    with pytest.raises(ValueError, match="test_datasets"):
        read_dataset_take(take_folder.path, "small_take")


def test_a_torn_meta(take_folder):
    (take_folder.path / "meta.json").write_text(json.dumps(take_folder.meta())[:-9])
    with pytest.raises(ValueError, match="not valid JSON"):
        read_take(take_folder.path)


@pytest.mark.parametrize(("name", "fps"), [("joker", 30), ("iiith_cooking_57_2_2451_2499", 20)])
def test_the_shared_takes(shared_take, name, fps):
    take = read_take(shared_take(name))
    assert take.exo.shape == (49, 448, 784, 3)
    assert take.depth.values.shape == (49, 448, 784)
    assert take.ego_camera.n_frames == 49
    assert len(take.ego_prior) == 49
    assert take.fps == fps
    assert (take.exo_camera.lens.cx, take.exo_camera.lens.cy) == (392.5, 224.5)
