"""Takes with several views are found by name, and nothing outside the folder is read."""

import json
import os

import pytest
import torch

from exo2ego.takes.library import EXAMPLE_ROOM, VIEWS
from exo2ego.takes.views import Clip, MultiViewTake, View
from support import ego_exo4d_tree as made_up
from support.ego_exo4d_tree import write_tree

TINY = Clip(n_frames=1, size=16)


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "input", views=("cam01",), n_video=60, n_poses=60)


def test_takes_are_listed(tree):
    assert VIEWS.names(tree.limit) == [EXAMPLE_ROOM, tree.name]
    tree.edit_json(tree.root / "takes.json", lambda takes: takes.append({**takes[0], "take_name": "not_here"}))
    (tree.root / "takes" / "unknown").mkdir()
    deeper = tree.limit / "shelf" / "dataset"
    deeper.parent.mkdir()
    tree.root.rename(deeper)
    assert VIEWS.names(tree.limit) == [EXAMPLE_ROOM, f"shelf/dataset#{made_up.TAKE}"]
    assert VIEWS.load(tree.limit, f"shelf/dataset#{made_up.TAKE}", clip=TINY).n_frames == 1


@pytest.mark.parametrize("text", ["", "{}", "3", "[1]", "[{}]", '[{"take_name": 1, "take_uid": "a"}]', "[" * 100_000])
def test_a_foreign_takes_json_hides_nothing(tree, text):
    (tree.limit / "foreign").mkdir()
    (tree.limit / "foreign" / "takes.json").write_text(text)
    assert VIEWS.names(tree.limit) == [EXAMPLE_ROOM, tree.name]
    with pytest.raises(ValueError, match=r"takes\.json"):
        VIEWS.check(tree.limit, "foreign#a")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("egoexo", "not name a take. Write FOLDER#TAKE"),
        ("egoexo#absent", r"no take 'absent'; it has 1 takes, such as made_up_bike_1"),
        ("absent#a", "There is no 'absent'"),
        ("../input/egoexo#made_up_bike_1", "outside"),
        ("/etc#passwd", "leads out"),
        ("egoexo/takes#made_up_bike_1", r"contains no takes\.json"),
        ("", "empty one"),
    ],
)
def test_a_name_that_is_no_take(tree, name, message):
    with pytest.raises(ValueError, match=message):
        VIEWS.check(tree.limit, name)
    with pytest.raises(ValueError, match=message):
        VIEWS.load(tree.limit, name, clip=TINY)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("take_name", "../../outside", "outside"),
        ("take_name", "/etc", "leads out"),
        ("take_uid", "../../../outside", "which are not valid"),
        ("take_uid", "", "which are not valid"),
    ],
)
def test_names_in_takes_json_that_climb(tree, key, value, message):
    (tree.limit.parent / "outside").mkdir()
    tree.edit_take(**{key: value})
    name = value if key == "take_name" else made_up.TAKE
    with pytest.raises(ValueError, match=message):
        VIEWS.load(tree.limit, f"egoexo#{name}", clip=TINY)
    assert VIEWS.names(tree.limit) == [EXAMPLE_ROOM]


def test_a_capture_that_climbs_is_not_read(tree):
    """The clock's folder comes from takes.json too."""
    tree.poses_file.unlink()
    outside = tree.limit.parent / "outside"
    (tree.root / "captures" / made_up.CAPTURE).rename(outside)
    tree.edit_take(capture={"capture_name": "../../../outside"})
    assert (tree.root / "captures" / "../../../outside" / "timesync.csv").is_file()
    with pytest.raises(ValueError, match="outside"):
        VIEWS.load(tree.limit, tree.name, clip=TINY)


@pytest.mark.parametrize("part", ["takes.json", "video", "poses", "take"])
def test_links_that_leave_are_not_followed(tree, part):
    outside = tree.limit.parent / "outside"
    outside.mkdir()
    parts = {
        "takes.json": tree.root / "takes.json",
        "video": tree.videos / "cam01.mp4",
        "poses": tree.poses_file,
        "take": tree.take,
    }
    target = outside / parts[part].name
    parts[part].rename(target)
    parts[part].symlink_to(target)
    with pytest.raises(ValueError, match="leads out"):
        VIEWS.load(tree.limit, tree.name, clip=TINY)


def test_links_that_stay(tree):
    moved = tree.limit / "cam01.mp4"
    (tree.videos / "cam01.mp4").rename(moved)
    (tree.videos / "cam01.mp4").symlink_to(moved)
    assert VIEWS.load(tree.limit, tree.name, clip=TINY).n_frames == 1


def test_the_files_of_a_take(tree):
    names = {path.name for path in VIEWS.files(tree.limit, tree.name)}
    assert names == {
        "takes.json",
        f"{made_up.UID}.json",
        "gopro_calibs.csv",
        "closed_loop_trajectory.csv",
        "online_calibration.jsonl",
        "timesync.csv",
        "cam01.mp4",
        "aria01_214-1.mp4",
    }


def test_a_list_is_not_parsed_again(tree):
    """The new content has the old size and time: only a second look into the file would show it."""
    path = tree.root / "takes.json"
    os.utime(path, (1_600_000_000,) * 2)
    before = VIEWS.names(tree.limit)
    path.write_text(path.read_text().replace(made_up.TAKE, made_up.TAKE[:-1] + "2"))
    os.utime(path, (1_600_000_000,) * 2)
    assert VIEWS.names(tree.limit) == before
    os.utime(path, (1_600_000_001,) * 2)
    assert VIEWS.names(tree.limit) == [EXAMPLE_ROOM]


def test_the_example_room():
    VIEWS.check(os.curdir, EXAMPLE_ROOM)
    take = VIEWS.load(os.curdir, EXAMPLE_ROOM, clip=TINY)
    assert [view.name for view in take.exo] == ["cam01", "cam02", "cam03", "cam04"]


# What a take with several views is -----------------------------------------------------------------------------------


def test_parts_of_different_length(tree):
    take = VIEWS.load(tree.limit, tree.name, clip=TINY)
    view = take.exo[0]
    longer = View("cam02", view.frames.repeat(2, 1, 1, 1), view.camera)
    with pytest.raises(ValueError, match="cam01 1, cam02 2, ego view 1"):
        MultiViewTake("a", (view, longer), take.ego_camera, take.ego, 7.5)
    for exo in ((), (view,) * 5):
        with pytest.raises(ValueError, match=f"has {len(exo)} exo views; expected 1 to 4"):
            MultiViewTake("a", exo, take.ego_camera, take.ego, 7.5)


@pytest.mark.parametrize("values", [{"start": -1}, {"stride": 0}, {"size": 0}])
def test_clips_that_are_none(values):
    with pytest.raises(ValueError, match="at least"):
        Clip(**values)


def test_the_span_of_a_clip():
    assert Clip().span == 33
    assert Clip(n_frames=1, stride=9).span == 1


def test_as_comfyui_calls_it(tree):
    with torch.inference_mode():
        assert VIEWS.load(tree.limit, tree.name, clip=TINY).ego.shape == (1, 16, 16, 3)


def test_takes_json_of_the_release(tree):
    """Fields as the dataset's documentation shows them; whatever else there is does not matter."""
    entry = json.loads((tree.root / "takes.json").read_text())[0]
    more = {"participant_uid": 657, "is_dropped": False, "objects": [], "task_id": 4001, "validated": True}
    (tree.root / "takes.json").write_text(json.dumps([{**entry, **more, "capture": None}]))
    tree.poses_file.unlink()
    assert VIEWS.load(tree.limit, tree.name, clip=TINY).n_frames == 1  # the capture's name comes from the take's
