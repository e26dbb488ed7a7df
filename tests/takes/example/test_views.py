"""The example room from four sides: cameras that agree with each other, and the clip that was asked for."""

from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.example.room import ExampleRoom
from exo2ego.takes.example.views import SOURCE_FRAMES, example_views
from exo2ego.takes.views import Clip, EgoView

SIZE = 32


@pytest.fixture(scope="module")
def take():
    return example_views(Clip(size=SIZE))


def test_shapes(take):
    assert [view.name for view in take.exo] == ["cam01", "cam02", "cam03", "cam04"]
    for video in (*(view.frames for view in take.exo), take.ego):
        assert video.shape == (9, SIZE, SIZE, 3)
        assert 0 <= video.min() < video.max() <= 1
        assert video.std() > 0.1
    assert take.ego_camera.n_frames == 9
    assert take.ego_camera.lens == Pinhole(150 / 16, 150 / 16, 16, 16)
    assert take.fps == 7.5
    for view in take.exo:
        assert view.camera.is_fixed
        assert view.camera.lens.fx == pytest.approx(view.camera.lens.fy * 9 / 16)  # a wide picture, squeezed


def test_the_first_camera_is_the_exo_camera_of_the_take_with_one():
    room = ExampleRoom(1)
    assert torch.equal(room.exo_cameras(64, 36)[0].world_to_camera, room.exo_camera(64, 36).world_to_camera)
    assert torch.equal(room.exo_camera(64, 36).world_to_camera[0], torch.eye(4).double())


def test_all_cameras_agree_on_the_room():
    """A point that one exo camera sees, lifted by its exact depth, lies at the depth that another one measures."""
    room = ExampleRoom(1)
    cameras = room.exo_cameras(160, 90)
    depths = [room.geometry(camera)[0] for camera in cameras]
    for number, camera in enumerate(cameras):
        other = cameras[number - 1]
        points = camera.unproject(depths[number])[0].reshape(-1, 3)
        pixels, z, valid = other.project(points)
        inside = valid & (pixels > 0).all(dim=-1) & (pixels < pixels.new_tensor([160, 90])).all(dim=-1)
        column, row = pixels[inside].long().unbind(-1)
        measured = depths[number - 1][0, row, column]
        hidden = measured < z[inside] * 0.97
        same = (measured - z[inside]).abs() < 0.02 * z[inside]
        assert inside.sum() > 1000
        assert (same | hidden).float().mean() > 0.9
        assert same.float().mean() > 0.3


def test_every_camera_sees_the_figure_and_stands_elsewhere():
    room = ExampleRoom(1)
    cameras = room.exo_cameras(96, 54)
    for camera in cameras:
        assert 0.03 < room.geometry(camera)[1].float().mean() < 0.4
        assert camera.rotations[0] @ cameras[0].rotations[0, 1] @ torch.tensor([0.0, 1, 0]).double() > 0.6  # upright
    centers = torch.cat([camera.centers for camera in cameras])
    assert torch.pdist(centers).min() > 1.5  # metres


def test_a_clip_of_the_movement(take):
    """Start and stride count source frames: a later clip begins where the earlier one has got to."""
    later = example_views(Clip(start=16, n_frames=5, size=SIZE))
    assert torch.allclose(later.ego_camera.world_to_camera, take.ego_camera[4:].world_to_camera)
    assert torch.equal(later.exo[2].frames, take.exo[2].frames[4:])
    assert not torch.equal(take.exo[2].frames[0], take.exo[2].frames[4])
    whole = ExampleRoom(2).ego_camera(take.ego_camera.lens, SIZE, SIZE)  # the first and the last moment
    clip = example_views(Clip(start=SOURCE_FRAMES - 5, n_frames=5, stride=1, size=SIZE))
    assert torch.allclose(clip.ego_camera[4].world_to_camera, whole[1].world_to_camera)
    with pytest.raises(ValueError, match=f"has {SOURCE_FRAMES} source frames; 9 frames from 61 with stride 4 would"):
        example_views(Clip(start=61))


def test_what_the_ego_pictures_are(take):
    one = Clip(n_frames=1, size=64)
    undistorted, fisheye, paper = (example_views(one, view) for view in EgoView)
    assert isinstance(fisheye.ego_camera.lens, Fisheye624)
    assert torch.equal(fisheye.ego, paper.ego)
    assert not torch.allclose(fisheye.ego, undistorted.ego, atol=0.1)
    assert paper.ego_camera.lens == undistorted.ego_camera.lens
    poses = [view.ego_camera.world_to_camera for view in (undistorted, fisheye, paper)]
    assert torch.equal(poses[0], poses[1])
    assert torch.equal(poses[0], poses[2])
    room = ExampleRoom(1, 0, 0)
    for shown in (undistorted, fisheye):
        assert torch.equal(room.color(replace(shown.ego_camera), with_head=False), shown.ego)


def test_progress():
    calls = []
    example_views(Clip(n_frames=1, size=16), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 5) for number in range(1, 6)]
