"""Clips of takes in Ego-Exo4D's own layout: the right frames, upright cameras in one world, and clear refusals."""

import json
import shutil

import pytest
import torch

from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.plucker import plucker_maps
from exo2ego.takes.ego_exo4d.clip import read_ego_exo4d
from exo2ego.takes.ego_exo4d.layout import open_take
from exo2ego.takes.library import VIEWS
from exo2ego.takes.video import write_video
from exo2ego.takes.views import Clip, EgoView
from support import ego_exo4d_tree as made_up
from support.ego_exo4d_tree import GLASSES, Tree, frame_numbers, view_number, write_tree

SMALL = Clip(size=64)
FIRST = 12  # the task starts at 0.4 s


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("input"))


@pytest.fixture
def tree(pristine, tmp_path):
    shutil.copytree(pristine.limit, tmp_path / "input")
    return Tree(tmp_path / "input", pristine.n_video, pristine.n_poses)


def read(tree: Tree, clip: Clip = SMALL, ego_view=EgoView.PAPER, **more):
    return read_ego_exo4d(open_take(tree.limit, tree.root, made_up.TAKE), clip, ego_view, **more)


def names(take):
    return [view.name for view in take.exo]


# Frames -------------------------------------------------------------------------------------------------------------


def test_a_clip_of_four_views(pristine):
    take = read(pristine)
    assert names(take) == ["cam01", "cam02", "cam03", "cam04"]
    assert [view_number(view.frames) for view in take.exo] == [1, 2, 3, 4]
    expected = list(range(FIRST, FIRST + 33, 4))
    for video in (*(view.frames for view in take.exo), take.ego):
        assert video.shape == (9, 64, 64, 3)
        assert frame_numbers(video) == expected
    assert take.ego_camera.n_frames == 9
    assert take.fps == 7.5
    assert take.remarks == ()


@pytest.mark.parametrize(("start", "n_frames", "stride"), [(0, 1, 1), (3, 5, 2), (11, 9, 4), (10, 33, 1)])
def test_other_clips(pristine, start, n_frames, stride):
    take = read(pristine, Clip(start, n_frames, stride, 32))
    frames = [FIRST + start + stride * number for number in range(n_frames)]
    assert frame_numbers(take.exo[2].frames) == [frame % 50 for frame in frames]
    truth = made_up.truth_camera(Pinhole(1, 1, 0, 0), 1, 1, frames)
    assert torch.allclose(take.ego_camera.world_to_camera, truth.world_to_camera, atol=1e-9)


@pytest.mark.parametrize("n_frames", [0, 4, 8, 10])
def test_numbers_of_frames_that_wan_cannot_sample(n_frames):
    with pytest.raises(ValueError, match=rf"4n\+1 frames, got {n_frames}"):
        Clip(n_frames=n_frames)


def test_the_clip_lies_inside_the_task(pristine):
    """The task ends at 1.9 s, before frame 57: the last clip starts at 57 - 33 = 24, 12 after the task's start."""
    assert frame_numbers(read(pristine, Clip(12, 9, 4, 32)).ego)[-1] == 56 % 50
    with pytest.raises(ValueError, match=r"ends before frame 57 .* task 57\). Start at 12 or earlier"):
        read(pristine, Clip(13, 9, 4, 32))
    with pytest.raises(ValueError, match="Take fewer frames"):
        read(pristine, Clip(0, 13, 4, 32))


def test_fewer_poses_than_frames(tmp_path):
    """632 poses for 634 frames, as in a real take: the clip must end before frame 632."""
    tree = write_tree(tmp_path, n_video=634, n_poses=632, views=("cam01",))
    last = 632 - 33 - FIRST
    take = read(tree, Clip(last, 9, 4, 32))
    frames = list(range(599, 632, 4))
    assert frame_numbers(take.ego) == [frame % 50 for frame in frames]
    truth = made_up.truth_camera(Pinhole(1, 1, 0, 0), 1, 1, frames)
    assert torch.allclose(take.ego_camera.world_to_camera, truth.world_to_camera, atol=1e-9)
    with pytest.raises(ValueError, match=rf"\(videos 634, poses 632, .*Start at {last} or earlier"):
        read(tree, Clip(last + 1, 9, 4, 32))


def test_a_video_that_is_shorter(tree):
    write_video(tree.videos / "cam03.mp4", torch.zeros(40, 32, 56, 3), 30)
    with pytest.raises(ValueError, match=r"videos 40, .*Take fewer frames"):
        read(tree)
    assert read(tree, Clip(0, 5, 4, 32)).n_frames == 5


def test_poses_that_begin_later(tree):
    def drop(content):
        for frame in range(20):
            del content[GLASSES]["camera_extrinsics"][str(frame)]

    tree.edit_poses(drop)
    assert frame_numbers(read(tree).ego)[0] == 20


def test_a_task_without_times(tree):
    tree.edit_take(task_start_sec=None, task_end_sec=None)
    take = read(tree)
    assert frame_numbers(take.ego)[0] == 0
    assert "no start of the task" in take.remarks[0]


def test_the_large_videos_where_there_are_no_small_ones(tree):
    for video in tree.videos.iterdir():
        video.rename(tree.videos.parents[1] / video.name)
    assert frame_numbers(read(tree).exo[0].frames)[0] == FIRST
    write_video(tree.videos / "cam01.mp4", torch.full((60, 32, 56, 3), 0.9), 30)
    assert read(tree).exo[0].frames.mean() > 0.85  # the small one is preferred


def test_progress(pristine):
    calls = []
    read(pristine, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 45) for done in range(1, 46)]


# Cameras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["camera_pose", "trajectory"])
def test_upright_by_gravity(tree, source):
    """The world has z up: an upright camera's y axis points down. The stored sensor's x axis does."""
    raw = json.loads(tree.poses_file.read_text())[GLASSES]["camera_extrinsics"]
    stored = torch.tensor([matrix for matrix in raw.values()], dtype=torch.float64)  # [F, 3, 4]
    assert stored[:, 0, 2].mean() < -0.7  # x axis in the world, its z
    assert stored[:, 1, 2].abs().mean() < 0.1
    if source == "trajectory":
        tree.poses_file.unlink()
    take = read(tree)
    axes = take.ego_camera.rotations  # [F, 3, 3], rows are the camera's axes in the world
    assert axes[:, 1, 2].mean() < -0.7
    assert axes[:, 0, 2].abs().mean() < 0.1
    for view in take.exo:
        assert view.camera.rotations[0, 1, 2] < -0.9  # upright as they are


def test_the_lens_turns_with_the_picture(tree):
    """A principal point off the centre: cx' = H - cy and cy' = cx, pixel centres at +0.5."""

    def shift(content):
        content[GLASSES]["camera_intrinsics"] = [[150, 0, 265.5], [0, 150, 249.5], [0, 0, 1]]

    tree.edit_poses(shift)
    lens = read(tree, Clip(size=512, n_frames=1)).ego_camera.lens
    assert lens == Pinhole(150, 150, 512 - 250, 266)


def test_where_the_cameras_stand(pristine):
    take = read(pristine)
    for view in take.exo:
        assert view.camera.is_fixed
        assert torch.allclose(view.camera.world_to_camera[0], made_up.exo_pose(view.name), atol=1e-9)
    truth = made_up.truth_camera(Pinhole(75, 75, 128, 128), 256, 256, range(FIRST, FIRST + 33, 4))
    assert torch.allclose(take.ego_camera.world_to_camera, truth.world_to_camera, atol=1e-9)
    relative = made_up.exo_pose("cam01") @ torch.linalg.inv(made_up.ego_pose(FIRST + 8))  # inv(C_exo1) @ C_ego
    middle = plucker_maps(take.ego_camera, take.exo[0].camera, 3, 3)[2, :, 1, 1].double()
    assert torch.allclose(middle[3:], relative[:3, 2], atol=1e-6)
    assert torch.allclose(middle[:3], torch.linalg.cross(relative[:3, 3], relative[:3, 2]), atol=1e-6)


def test_the_pinhole_of_the_ego_view(pristine):
    """Integer pixel centres of the file become ours: K(256) = 75, 75, 128, 128."""
    for ego_view in (EgoView.UNDISTORTED, EgoView.PAPER):
        camera = read(pristine, Clip(size=256, n_frames=1), ego_view).ego_camera
        assert (camera.lens, camera.width, camera.height) == (Pinhole(75, 75, 128, 128), 256, 256)


def test_the_fisheye_of_the_ego_view(pristine):
    """From 2880 pixels: a border of 32 is left out, the rest is halved to 1408 and turned upright."""
    camera = read(pristine, Clip(size=176, n_frames=1), EgoView.FISHEYE).ego_camera
    lens, scale = camera.lens, 176 / 1408
    assert isinstance(lens, Fisheye624)
    cx, cy = (value + 0.5 for value in made_up.ARIA_CENTER)
    assert lens.focal == pytest.approx(made_up.ARIA_FOCAL / 2 * scale)
    assert lens.cx == pytest.approx((1408 - (cy - 32) / 2) * scale)
    assert lens.cy == pytest.approx((cx - 32) / 2 * scale)
    assert lens.radial == made_up.ARIA_RADIAL
    assert (camera.width, camera.height) == (176, 176)


def test_the_undistorted_ego_view_shows_what_the_pinhole_would(pristine):
    """The edge of the dark left quarter lies where the pinhole sees the fisheye's ray of that edge."""
    clip = Clip(size=128, n_frames=1)
    recorded, undistorted = (read(pristine, clip, view) for view in (EgoView.FISHEYE, EgoView.UNDISTORTED))
    ray = recorded.ego_camera.lens.unproject(torch.tensor([32.0, 64.0], dtype=torch.float64))
    column = undistorted.ego_camera.lens.project(ray)[0][0].round().int()
    assert 36 < column < 44  # elsewhere than in the recorded picture
    for take, edge in ((recorded, 32), (undistorted, column)):
        assert take.ego[0, 64, edge - 4].max() < 0.05
        assert take.ego[0, 64, edge + 3].min() > 0.2
    assert (undistorted.ego[0, 0, 0] < 0.01).all()  # beyond the fisheye's corner


def test_other_glasses_where_there_is_no_calibration(tree):
    (tree.trajectory / "online_calibration.jsonl").unlink()
    take = read(tree, SMALL, EgoView.FISHEYE)
    assert "online_calibration.jsonl is not there" in take.remarks[0]
    assert isinstance(take.ego_camera.lens, Fisheye624)
    assert read(tree, SMALL, EgoView.PAPER).remarks == ()


def test_the_lens_of_the_exo_cameras(tree):
    """The recorded picture's fisheye where it is known, else the pinhole of the undistorted one; never squeezed."""
    camera = read(tree).exo[0].camera
    assert camera.lens == made_up.gopro_lens()
    assert (camera.width, camera.height) == (3840, 2160)
    (tree.trajectory / "gopro_calibs.csv").unlink()
    assert read(tree).exo[0].camera.lens == Pinhole(1248, 1248, 1920, 1080)


# Parts that are missing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["video", "pose"])
def test_cam05_stands_in(tmp_path, missing):
    tree = write_tree(tmp_path, views=("cam01", "cam02", "cam03", "cam04", "cam05"))
    assert names(read(tree)) == ["cam01", "cam02", "cam03", "cam04"]
    if missing == "video":
        (tree.videos / "cam02.mp4").unlink()
    else:
        tree.edit_poses(lambda content: content.pop("cam02"))
        rows = (tree.trajectory / "gopro_calibs.csv").read_text().splitlines()
        kept = [row if "cam02" not in row else row[: row.rindex(",")] + ",0" for row in rows]  # not localised
        (tree.trajectory / "gopro_calibs.csv").write_text("\n".join(kept))
    take = read(tree)
    assert names(take) == ["cam01", "cam03", "cam04", "cam05"]
    assert [view_number(view.frames) for view in take.exo] == [1, 3, 4, 5]
    assert torch.allclose(take.exo[3].camera.world_to_camera[0], made_up.exo_pose("cam05"), atol=1e-9)
    assert ("cam02: left out" in "".join(take.remarks)) == (missing == "pose")


def test_three_views(tree):
    (tree.videos / "cam01.mp4").unlink()
    assert names(read(tree)) == ["cam02", "cam03", "cam04"]


def test_no_exo_view(tree):
    for video in tree.videos.glob("cam*"):
        video.unlink()
    with pytest.raises(ValueError, match="no exo view with a video and a pose: videos none"):
        read(tree)


def test_no_ego_video(tree):
    (tree.videos / f"{GLASSES}_214-1.mp4").unlink()
    with pytest.raises(ValueError, match=r"no ego video: expected ariaNN_214-1\.mp4"):
        read(tree)


def test_an_exo_pose_from_the_table(tree):
    tree.edit_poses(lambda content: content.pop("cam02"))
    camera = read(tree).exo[1].camera
    assert torch.allclose(camera.world_to_camera[0], made_up.exo_pose("cam02"), atol=1e-9)
    assert camera.lens == made_up.gopro_lens()


def test_tables_of_different_worlds(tree):
    def move(content):
        content["cam01"]["camera_extrinsics"][0][3] += 0.5
        del content["cam02"]

    tree.edit_poses(move)
    with pytest.raises(ValueError, match=r"cam01 is at two positions, 0\.50 m apart"):
        read(tree)


def test_all_poses_from_the_glasses_tables(tree):
    """Without camera_pose: the nearest pose in time, the camera's place on the glasses, and the quarter turn."""
    tree.poses_file.unlink()
    take = read(tree)
    truth = made_up.truth_camera(Pinhole(75, 75, 128, 128), 256, 256, range(FIRST, FIRST + 33, 4))
    assert torch.allclose(take.ego_camera.world_to_camera, truth.world_to_camera, atol=1e-9)
    assert take.ego_camera.lens == Pinhole(150, 150, 256, 256).scaled(1 / 8, 1 / 8)
    for view in take.exo:
        assert torch.allclose(view.camera.world_to_camera[0], made_up.exo_pose(view.name), atol=1e-9)


@pytest.mark.parametrize(
    "missing", ["trajectory/closed_loop_trajectory.csv", "trajectory/online_calibration.jsonl", "timesync.csv"]
)
def test_no_ego_poses_at_all(tree, missing):
    tree.poses_file.unlink()
    next(tree.root.rglob(missing.rpartition("/")[2])).unlink()
    with pytest.raises(ValueError, match=rf"no ego poses: annotations.* needed too: \S*{missing}\. Download"):
        read(tree)


def test_ego_poses_without_the_rows_of_the_clock(tree):
    tree.poses_file.unlink()
    tree.edit_take(timesync_start_idx=None)
    with pytest.raises(ValueError, match="needed too: timesync_start_idx"):
        read(tree)


def test_a_missing_ego_pose(tree):
    tree.edit_poses(lambda content: content[GLASSES]["camera_extrinsics"].pop("20"))
    with pytest.raises(ValueError, match=f"no pose of {GLASSES} at frame 20. Start elsewhere"):
        read(tree)
    assert read(tree, Clip(1, 9, 4, 32)).n_frames == 9  # frame 20 is not of that clip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda content: content[GLASSES]["camera_extrinsics"].update({"16": [[0.0] * 4] * 3}),
            "frame 16 in .*singular",
        ),
        (
            lambda content: content[GLASSES]["camera_extrinsics"].update({"16": [[1.0] * 3] * 3}),
            "aria01 at frame 16 in",
        ),
        (lambda content: content[GLASSES]["camera_extrinsics"].update({"16": None}), "aria01 at frame 16 in"),
        (lambda content: content[GLASSES].update({"camera_extrinsics": []}), "by the number of the frame"),
        (lambda content: content[GLASSES]["camera_extrinsics"].update({"last": []}), "by the number of the frame"),
        (lambda content: content[GLASSES].update({"camera_intrinsics": [[610, 610, 703.5]] * 3}), "column 704"),
        (lambda content: content.update({GLASSES: 3}), "not an object"),
        (lambda content: content["cam03"].update({"camera_extrinsics": [[float("nan")] * 4] * 3}), "cam03 in .*NaN"),
        (lambda content: content["cam03"].update({"camera_intrinsics": [1, 2]}), "cam03 in .*3 x 3"),
        (lambda content: content["cam03"].pop("camera_extrinsics"), "cam03 in .*lacks 'camera_extrinsics'"),
        (lambda content: content["cam03"].update({"camera_extrinsics": "x"}), "cam03 in "),
    ],
)
def test_spoilt_poses(tree, spoil, message):
    tree.edit_poses(spoil)
    with pytest.raises(ValueError, match=message):
        read(tree)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '"x"', "\x00"])
def test_a_poses_file_of_another_kind(tree, text):
    tree.poses_file.write_text(text)
    with pytest.raises(ValueError, match=made_up.UID):
        read(tree)


def test_videos_of_another_rate(tree):
    write_video(tree.videos / "cam02.mp4", torch.zeros(60, 32, 56, 3), 24)
    with pytest.raises(ValueError, match=r"cam02\.mp4 has 24 frames a second"):
        read(tree)


def test_an_ego_video_of_another_shape(tree):
    write_video(tree.videos / f"{GLASSES}_214-1.mp4", torch.zeros(60, 32, 56, 3), 30)
    with pytest.raises(ValueError, match="is not square"):
        read(tree)


def test_a_torn_video(tree):
    path = tree.videos / "cam02.mp4"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cam02\.mp4 is not a readable video"):
        read(tree)


@pytest.mark.parametrize("link", ["takes.json", "takes", "the take", "the videos", "cam02.mp4", "camera_pose.json"])
def test_a_link_that_leads_out(tree, tmp_path, link):
    places = {"takes": tree.root / "takes", "takes.json": tree.root / "takes.json", "the take": tree.take}
    places |= {"the videos": tree.videos, "cam02.mp4": tree.videos / "cam02.mp4", "camera_pose.json": tree.poses_file}
    path = places[link]
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="leads out of"):
        VIEWS.check(tree.limit, f"egoexo#{made_up.TAKE}")
    with pytest.raises(ValueError, match="leads out of"):
        VIEWS.load(tree.limit, f"egoexo#{made_up.TAKE}", clip=SMALL, ego_view=EgoView.PAPER)
