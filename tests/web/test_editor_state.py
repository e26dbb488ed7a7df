"""The camera editor's state without a browser: texts that are broken or far out, and what its commands make of them."""

from __future__ import annotations

import json

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.trajectory import Keyframe, Trajectory
from exo2ego.geometry.cameras.trajectory_json import trajectory_from_json, trajectory_to_json
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.packed_cloud import pack_cloud
from exo2ego.geometry.points.point_cloud import PointCloud
from support.node_js import ask


def text_of(*frames: int, **numbers: object) -> str:
    """Return a trajectory's text; `numbers` replace those of its first key."""
    keys = tuple(Keyframe(frame, (0.1 * frame, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)) for frame in frames)
    content = json.loads(trajectory_to_json(Trajectory(keys)))
    content["keyframes"][0] |= numbers
    return json.dumps(content)


@pytest.mark.parametrize(
    "numbers",
    [
        {"frame": 1_000_001},
        {"frame": 10**15},
        {"frame": -1},
        {"ease_in": 1.5},
        {"ease_out": -0.1},
        {"position": [2e6, 0, 0]},
        {"rotation": [0, 0, 0, 0]},
    ],
    ids=str,
)
def test_what_the_node_refuses_the_page_does_not_show(numbers):
    with pytest.raises(ValueError, match=r"keyframe|ease_"):
        trajectory_from_json(text_of(0, **numbers))
    state = ask("edit", steps=[{"text": text_of(0, **numbers)}])
    assert "Keyframe 0" in state["problem"]
    assert (state["keys"], state["written"]) == (0, [])


def test_a_key_far_beyond_the_clip_can_be_seen_and_deleted():
    state = ask("edit", steps=[{"text": text_of(0, 1_000_000)}])
    assert (state["problem"], state["keys"], state["nFrames"]) == ("", 2, 1_000_001)
    assert state["drawn"] <= 10_000


def test_undo_back_to_a_text_that_cannot_be_read():
    state = ask("edit", steps=[{"text": "{"}, {"command": "setKey"}, {"command": "undo"}])
    assert state["written"][-1] == "{"
    assert "cannot be read" in state["problem"]
    assert state["keys"] == 0
    again = ask("edit", steps=[{"text": "{"}, {"command": "setKey"}, {"command": "undo"}, {"command": "redo"}])
    assert (again["problem"], again["keys"]) == ("", 1)


def test_a_run_stores_small_edits_first():
    one, two = ask("edit", steps=[{"wheel": 1}, {"flush": True}, {"flush": True}]), ask("edit", steps=[{"flush": True}])
    assert [len(json.loads(text)["keyframes"]) for text in one["written"]] == [1], "once"
    assert two["written"] == [], "nothing to store"
    undone = ask("edit", steps=[{"wheel": 1}, {"text": "{"}, {"flush": True}])
    assert undone["written"] == [], "a text that came since counts"


def test_presets_set_keys_within_the_clip(tmp_path):
    """Also where a key of before lies beyond it."""
    points = torch.rand(40, 3) + torch.tensor([0.0, 0.0, 2.0])
    moving = tuple(points + frame * 0.1 for frame in range(9))
    path = tmp_path / "cloud.bin"
    path.write_bytes(pack_cloud(PointCloud(points, points, moving, (points,) * 9)))
    assert ask("moves", path=str(path), frames=9, keyAt=30) == [0, 6, 8]


def test_coverage_of_thinned_points_is_told_roughly(tmp_path):
    points = torch.rand(60, 3) + torch.tensor([0.0, 0.0, 2.0])
    path = tmp_path / "cloud.bin"
    path.write_bytes(pack_cloud(PointCloud(points, points, (points[:0],), (points[:0],)), max_points=40))
    camera = Camera(Pinhole(50.0, 50.0, 32.0, 32.0), 64, 64, torch.eye(4)).to_json()
    assert ask("thinned", path=str(path), points=40, camera=camera) == "covered 40.0 %"
    assert ask("thinned", path=str(path), points=60, camera=camera) == "covered about 40 %"


def test_a_narrow_slip_of_a_picture_takes_no_more_memory_than_a_wide_one():
    sizes = [[448, 448], [784, 448], [8192, 16], [8192, 1], [16, 8192]]
    scales = ask("scale", sizes=sizes)
    assert scales[:2] == [1, 1]
    assert all(width * height * scale**2 <= 4 * 448**2 for (width, height), scale in zip(sizes, scales))


def test_a_slow_processor_is_asked_for_less_and_a_quick_one_for_more():
    """By times that are given here; the middle one of three counts."""

    def level_after(*times: float) -> int:
        return ask("pace", times=list(times))["levels"][-1]

    answer = ask("pace", times=[])
    hastes, first = answer["hastes"], answer["first"]
    assert hastes[0] == {"share": 1, "rows": 448, "step": 1}, "all there is"
    drawn = [haste["rows"] ** 2 / haste["step"] for haste in hastes]
    assert drawn == sorted(drawn, reverse=True)
    assert level_after(40, 40) == first, "not yet judged"
    assert level_after(40, 40, 40) == first + 1
    assert level_after(*[40] * 60) == len(hastes) - 1, "the coarsest there is"
    assert level_after(3, 500, 12) == first, "a moment in which others used the processor"
    assert level_after(*[12] * 60) == first
    assert level_after(*[1] * 60) == 0
    assert level_after(*[40] * 3, *[12] * 30) == first + 1, "what fits stays"
    assert level_after(*[40] * 3, *[2] * 3) == first, "others used the processor for a while"
