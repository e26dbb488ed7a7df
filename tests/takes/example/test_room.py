"""The example room: its depth, cameras and movement are what they claim, and it survives the trip through files."""

import json
from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.camera_formats.read import read_camera
from exo2ego.takes.egox.read import read_take
from exo2ego.takes.egox.write import write_take
from exo2ego.takes.example.room import ExampleRoom, example_take

WIDTH, HEIGHT, EGO_SIZE, N_FRAMES = 112, 64, 64, 5


@pytest.fixture(scope="module")
def take():
    return example_take(N_FRAMES, exo_width=WIDTH, exo_height=HEIGHT, ego_size=EGO_SIZE)


def test_shapes_and_ranges(take):
    assert take.exo.shape == (N_FRAMES, HEIGHT, WIDTH, 3)
    assert take.ego_truth.shape == (N_FRAMES, EGO_SIZE, EGO_SIZE, 3)
    assert isinstance(take.ego_camera.lens, Fisheye624)
    assert take.exo_camera.is_fixed
    assert not take.ego_camera.is_fixed
    for video in (take.exo, take.ego_truth):
        assert video.min() >= 0
        assert video.max() <= 1
        assert video.std() > 0.1
    assert take.depth.valid.all()
    assert "[Exo view]\n**Scene Overview:**\n" in take.prompt
    assert "[Ego view]\n**Scene Overview:**\n" in take.prompt


@pytest.mark.parametrize("of_head", [False, True])
def test_depth_at_single_pixels_is_that_of_the_whole_image(of_head):
    room = ExampleRoom(3)
    camera = room.ego_camera(Pinhole.from_fov(90, 40, 40), 40, 40) if of_head else room.exo_camera(WIDTH, HEIGHT)
    whole, _ = room.geometry(camera)
    for frame in range(3):
        found = room.depth_at(camera, frame, camera.pixel_grid().reshape(-1, 2))
        assert torch.allclose(found.reshape(whole[frame].shape), whole[frame], rtol=1e-12, atol=0)


def test_depth_and_both_cameras_agree():
    """A static exo pixel, lifted by its depth and seen by the ego camera, lies at the depth the ego camera measures.

    Nothing but exact geometry passes this for nine in ten of the pixels that both cameras see.
    """
    room = ExampleRoom(3)
    exo = room.exo_camera(WIDTH, HEIGHT)
    for lens in (Pinhole.from_fov(100, 448, 448), preset_lens(LensPreset.EGOX_RELEASE, 448, 448)):
        ego = room.ego_camera(lens, 448, 448)
        exo_depth, exo_dynamic = room.geometry(exo)
        ego_depth, ego_dynamic = room.geometry(ego, with_head=False)
        frame = 1
        points = exo.unproject(exo_depth)[frame][~exo_dynamic[frame]]
        pixels, z, valid = ego.project(points, frame)
        inside = valid & (pixels > 0).all(dim=-1) & (pixels < 448).all(dim=-1)
        column, row = pixels[inside].long().unbind(-1)
        measured = ego_depth[frame, row, column]
        hidden = ego_dynamic[frame, row, column] | (measured < z[inside] * 0.97)
        same = (measured - z[inside]).abs() < 0.01 * z[inside]
        assert inside.sum() > 500
        assert (same | hidden).float().mean() > 0.95
        assert same.float().mean() > 0.4


def test_the_ego_camera_sits_in_the_figures_head_and_looks_at_its_hands():
    room = ExampleRoom(3)
    exo = room.exo_camera(WIDTH, HEIGHT)
    ego = room.ego_camera(Pinhole.from_fov(100, 64, 64), 64, 64)
    exo_depth, exo_dynamic = room.geometry(exo)
    ego_depth, _ = room.geometry(ego, with_head=False)
    for frame, center in enumerate(ego.centers):
        pixels, z, _ = exo.project(center)
        column, row = pixels.long().tolist()
        assert exo_dynamic[frame, row, column]
        assert abs(float(exo_depth[frame, row, column] - z)) < 0.25
        assert 0.5 < float(ego_depth[frame, 32, 32]) < 0.9


def test_the_dynamic_mask_covers_what_changes(take):
    room = ExampleRoom(N_FRAMES)
    depth, dynamic = room.geometry(room.exo_camera(WIDTH, HEIGHT))
    still = ~dynamic.any(dim=0)
    assert 0.04 < dynamic.float().mean() < 0.3
    assert (depth[:, still] == depth[:1, still]).all()
    assert (depth[:, ~still].std(dim=0) > 0).float().mean() > 0.2


def test_the_figures_own_head_is_out_of_its_sight():
    room = ExampleRoom(2)
    ego = room.ego_camera(Pinhole.from_fov(120, 64, 64), 64, 64)
    without, with_head = (room.geometry(ego, with_head=flag)[0] for flag in (False, True))
    assert (with_head <= without).all()
    assert (with_head < without).any()  # the neck
    exo = room.exo_camera(WIDTH, HEIGHT)
    assert (room.geometry(exo)[0] < room.geometry(exo, with_head=False)[0]).any()


def test_the_head_moves_smoothly():
    camera = ExampleRoom(49).ego_camera(Pinhole.from_fov(100, 64, 64), 64, 64)
    steps = camera.centers.diff(dim=0).norm(dim=-1)
    angles = (camera.rotations[1:] * camera.rotations[:-1]).sum(dim=(1, 2)).sub(1).div(2).clamp(-1, 1).acos()
    assert steps.max() < 0.01  # metres a frame
    assert angles.max() < 0.04  # radians a frame
    assert (camera.centers[-1] - camera.centers[0]).norm() > 0.005


def test_fewer_frames_span_the_same_movement():
    lens = Pinhole.from_fov(100, 64, 64)
    many, few = ExampleRoom(49).ego_camera(lens, 64, 64), ExampleRoom(5).ego_camera(lens, 64, 64)
    assert torch.allclose(many[::12].world_to_camera, few.world_to_camera)


def test_black_outside_the_lens_field():
    lens = preset_lens(LensPreset.SCRIPT_DEFAULT, 64, 64)
    narrow = Fisheye624(lens.focal, lens.cx, lens.cy, radial=(-0.35, 0, 0, 0, 0, 0))  # its field ends in the image
    room = ExampleRoom(1)
    color, depth = room.color(room.ego_camera(narrow, 64, 64)), room.geometry(room.ego_camera(narrow, 64, 64))[0]
    assert (color[0, 0, 0] == 0).all()
    assert depth[0, 0, 0] == 0
    assert (color[0, 32, 32] > 0).all()


def test_progress_and_its_cancel():
    calls = []
    example_take(2, exo_width=32, exo_height=16, ego_size=16, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        example_take(2, exo_width=32, exo_height=16, ego_size=16, progress=cancel)


def test_as_comfyui_calls_it(take):
    with torch.inference_mode():
        again = example_take(N_FRAMES, exo_width=WIDTH, exo_height=HEIGHT, ego_size=EGO_SIZE)
    assert torch.equal(again.exo, take.exo)
    assert torch.equal(again.ego_truth, take.ego_truth)


def test_no_frames():
    with pytest.raises(ValueError, match="at least one frame"):
        example_take(0)


def test_a_written_take_reads_back(take, tmp_path):
    write_take(take, tmp_path / "room")
    again = read_take(tmp_path / "room")
    assert again.prompt == take.prompt
    assert again.fps == take.fps
    assert again.exo_camera.lens == take.exo_camera.lens
    assert torch.allclose(again.exo_camera.world_to_camera, take.exo_camera.world_to_camera)
    assert again.ego_camera.lens == take.ego_camera.lens
    assert torch.allclose(again.ego_camera.world_to_camera, take.ego_camera.world_to_camera)
    assert torch.allclose(again.depth.metric(), take.depth.metric(), rtol=1e-3)
    assert (again.exo - take.exo).abs().mean() < 0.02
    assert (again.ego_truth - take.ego_truth).abs().mean() < 0.02
    assert again.ego_prior is None


def test_the_written_ego_camera_file(take, tmp_path):
    write_take(take, tmp_path)
    camera = read_camera(tmp_path / "ego_camera.json")
    assert camera.lens == take.ego_camera.lens
    assert torch.equal(camera.world_to_camera, take.ego_camera.world_to_camera)


def test_the_written_meta_follows_egox(take, tmp_path):
    """Without our camera file a reader of EgoX's format is half a pixel off, and no more."""
    write_take(take, tmp_path)
    (tmp_path / "exo_camera.json").unlink()
    lens = read_take(tmp_path).exo_camera.lens
    expected = take.exo_camera.lens
    assert (lens.fx, lens.fy) == pytest.approx((expected.fx, expected.fy))
    assert (lens.cx, lens.cy) == (expected.cx + 0.5, expected.cy + 0.5)
    assert len(json.loads((tmp_path / "meta.json").read_text())["ego_extrinsics"]) == N_FRAMES


def test_a_take_that_egox_cannot_hold(take, tmp_path):

    moving = Camera(take.exo_camera.lens, WIDTH, HEIGHT, torch.eye(4).repeat(N_FRAMES, 1, 1))
    with pytest.raises(ValueError, match="fixed pinhole"):
        write_take(replace(take, exo_camera=moving), tmp_path / "moving")
    with pytest.raises(ValueError, match="even sizes"):
        write_take(replace(take, ego_truth=take.ego_truth[:, :-1]), tmp_path / "odd")
    assert not list(tmp_path.iterdir())
