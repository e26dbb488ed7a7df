"""Keypoints in files: what is listed, in which order frames are read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exo2ego.takes.library import EXAMPLE_ROOM, KEYPOINTS


def frame(number: float, size: bool = True) -> dict:
    body = [value for _ in range(18) for value in (100 + number, 50.0, 0.9)]
    return {"people": [{"pose_keypoints_2d": body}]} | ({"canvas_width": 320, "canvas_height": 180} if size else {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "all.json").write_text(json.dumps([frame(i) for i in range(4)]))
    folder = tmp_path / "openpose"
    folder.mkdir()
    for number in (9, 10, 11, 100):
        (folder / f"clip_{number}_keypoints.json").write_text(json.dumps(frame(number, size=False)))
    (tmp_path / "notes.txt").write_text("no keypoints")
    (tmp_path / "empty").mkdir()
    return tmp_path


def columns(frames) -> list[float]:
    return [one["people"][0]["pose_keypoints_2d"][0] - 100 for one in frames]


def test_what_is_listed(root):
    assert KEYPOINTS.names(root) == [EXAMPLE_ROOM, "openpose", "all.json"]
    for name in KEYPOINTS.names(root):
        KEYPOINTS.check(root, name)


def test_one_file_and_one_file_a_frame(root):
    assert columns(KEYPOINTS.load(root, "all.json", max_frames=3)) == [0, 1, 2]
    found = KEYPOINTS.load(root, "openpose", max_frames=49, width=640, height=360)
    assert columns(found) == [9, 10, 11, 100]
    assert found[0]["canvas_width"] == 640
    assert KEYPOINTS.files(root, "openpose")[0].name == "clip_9_keypoints.json"


def test_a_files_own_size_counts(root):
    assert KEYPOINTS.load(root, "all.json", max_frames=1, width=640, height=360)[0]["canvas_width"] == 320


def test_the_example_figure(root):
    found = KEYPOINTS.load(root, EXAMPLE_ROOM, max_frames=2)
    assert [len(one["people"]) for one in found] == [1, 1]
    assert (found[0]["canvas_width"], found[0]["canvas_height"]) == (784, 448)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../all.json", "outside"),
        ("/etc/passwd", "leads out"),
        ("nothing.json", "There is no"),
        ("notes.txt", "not a .json file"),
        ("empty", "no .json file"),
        ("openpose", "canvas_width"),
    ],
)
def test_what_is_refused(root, name, message):
    with pytest.raises(ValueError, match=message):
        KEYPOINTS.load(root, name, max_frames=4)


def test_a_link_that_leads_out(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "frame_keypoints.json"
    outside.write_text(json.dumps(frame(0)))
    (root / "linked").mkdir()
    (root / "linked" / "frame_keypoints.json").symlink_to(outside)
    assert "linked" not in KEYPOINTS.names(root)
    with pytest.raises(ValueError, match="leads out"):
        KEYPOINTS.load(root, "linked", max_frames=1)
