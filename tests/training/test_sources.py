"""Which clips a recipe names, and on which side of the split they fall."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exo2ego.takes.views import Clip, EgoView
from exo2ego.training.data.cache import write_shard
from exo2ego.training.data.screened import Verdict, write_screened
from exo2ego.training.data.sources import clips_of, clips_to_make, screened_takes, settings_made, share_of, takes_of
from exo2ego.training.data.takes import EgoExo4DTake, EgoXTake, RoomTake
from support.ego_exo4d_tree import TAKE, write_tree
from support.training import small_clip, tiny_recipe

SYN = {"run": {"method": "exo2egosyn stage 0"}}


def entry(name, **values):
    return {"exo_path": f"./videos/{name}/exo.mp4", "prompt": "", "ego_extrinsics": [], **values}


def write_dataset(folder, *entries):
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"test_datasets": list(entries)}))


def filled(folder, names, groups=None, **data):
    """Return the cache of a recipe that names no takes, filled with made-up clips."""
    recipe = tiny_recipe(folder, data={"held_out": [], **data})
    clip = small_clip(0)
    for name in names:
        made = {
            "take": name.partition("@")[0],
            "of": str(sum(n.partition("@")[0] == name.partition("@")[0] for n in names)),
        }
        write_shard(folder / "cache", {name: (clip, {**settings_made(recipe), **made, **(groups or {}).get(name, {})})})
    return clips_of(recipe, folder)


def test_the_split_is_by_recording_and_stays(tmp_path):
    names = [f"take_{number:02d}@{clip}" for number in range(20) for clip in (1, 2)]
    cache = filled(tmp_path, names, split=0.3)
    held_out = {name.partition("@")[0] for name in cache.held_out}
    assert held_out == {f"take_{number:02d}" for number in range(20) if share_of(f"take_{number:02d}") < 0.3}
    assert 0 < len(held_out) < 20
    assert set(cache.held_out) == {name for name in names if name.partition("@")[0] in held_out}
    more = filled(tmp_path, [*names, "other@1", "other@2"], split=0.3)
    assert held_out <= {name.partition("@")[0] for name in more.held_out} <= held_out | {"other"}
    larger = filled(tmp_path, names, split=0.6)
    assert set(cache.held_out) <= set(larger.held_out)


def test_a_share_follows_from_the_name_alone():
    """Written out: a take must not change sides from one version to the next."""
    assert share_of("cmu_bike01_2") == pytest.approx(0.9778892534)
    shares = [share_of(f"take {number}") for number in range(2000)]
    assert 0.46 < sum(shares) / len(shares) < 0.54
    assert all(0 <= share < 1 for share in shares)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("iiith_cooking_57_2_2451_2499", "iiith_cooking_57_2"),
        ("iiith_cooking_57_2_100_148", "iiith_cooking_57_2"),
        ("iiith_cooking_57_2", "iiith_cooking_57_2"),
        ("upenn_0714_Piano_1_2", "upenn_0714_Piano_1_2"),
        ("joker", "joker"),
    ],
)
def test_clips_of_one_recording_have_one_group(name, group):
    assert EgoXTake(Path("data"), name).group == group


def test_held_out_names_clips_takes_and_recordings(tmp_path):
    groups = {"c_0_48": {"group": "c"}, "c_49_97": {"group": "c"}}
    names = ["a@1", "a@2", "b@1", "b@2", "c_0_48", "c_49_97", "d"]
    held_out = filled(tmp_path, names, groups, held_out=["a@2", "b", "c"]).held_out
    assert set(held_out) == {"a@2", "b@1", "b@2", "c_0_48", "c_49_97"}


def test_a_take_of_which_a_clip_is_missing(tmp_path):
    recipe = tiny_recipe(tmp_path, data={"held_out": [], "takes": ["elsewhere/a"]})
    write_shard(tmp_path / "cache", {"a@1": (small_clip(0), {"take": "a", "of": "2"})})
    with pytest.raises(ValueError, match=r"1 of 1 takes are not all in .*, such as a: run `training cache`"):
        clips_of(recipe, tmp_path)


def test_takes_that_are_rejected_are_left_out(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    recipe = tiny_recipe(tmp_path, data={"takes": ["a", "b"], "rooms": [7, 1], "screened": "s.json", "held_out": []})
    with pytest.raises(ValueError, match=r"there is no list .*s\.json\. Run `training screen` with this recipe"):
        screened_takes(recipe, tmp_path)
    write_screened(tmp_path / "s.json", [Verdict("a"), Verdict("b", {"text": "The text is empty."})])
    assert list(screened_takes(recipe, tmp_path)) == ["a", "room_000007"]
    more = tiny_recipe(tmp_path, data={"takes": ["a", "b", "c"], "screened": "s.json"})
    with pytest.raises(ValueError, match="says nothing of 1 of 3 takes, such as c"):
        screened_takes(more, tmp_path)
    with pytest.raises(ValueError, match="rejects all 1 takes"):
        screened_takes(tiny_recipe(tmp_path, data={"takes": ["b"], "screened": "s.json"}), tmp_path)
    by_hand = (tmp_path / "s.json").read_text().replace('"kept": false', '"kept": true')
    (tmp_path / "s.json").write_text(by_hand)
    assert list(screened_takes(recipe, tmp_path)) == ["a", "b", "room_000007"]
    (tmp_path / "s.json").write_text('{"format": "exo2ego_screened"}')
    with pytest.raises(ValueError, match="is not a list of `training screen`"):
        screened_takes(recipe, tmp_path)


def test_rejected_clips_of_a_cache_without_takes(tmp_path):
    write_screened(tmp_path / "s.json", [Verdict("a", {"path": "A jump."}), Verdict("b")])
    assert set(filled(tmp_path, ["a", "b"], screened="s.json").entries) == {"b"}


def test_a_dataset_s_takes(tmp_path):
    """Another take in meta.json leaves a take's clip fresh; its own entry does not."""
    write_dataset(tmp_path / "data", entry("a", prompt="one"), entry("b"))
    recipe = tiny_recipe(tmp_path, data={"takes": ["data#*"]})
    takes = takes_of(recipe, tmp_path)
    assert list(takes) == ["a", "b"]
    before = takes["a"].made()
    write_dataset(tmp_path / "data", entry("c"), entry("a", prompt="one"), entry("b"))
    assert takes["a"].made() == before
    write_dataset(tmp_path / "data", entry("a", prompt="two"), entry("b"))
    assert takes["a"].made() != before
    some = tiny_recipe(tmp_path, data={"takes": ["data#b*"]})
    assert list(takes_of(some, tmp_path)) == ["b"]
    with pytest.raises(ValueError, match=r"no take called x\* in .*data, which has 2"):
        takes_of(tiny_recipe(tmp_path, data={"takes": ["data#x*"]}), tmp_path)
    with pytest.raises(ValueError, match="names a twice"):
        takes_of(tiny_recipe(tmp_path, data={"takes": ["data#*", "data#a"]}), tmp_path)


def test_rooms_and_where_clips_of_long_takes_lie(tmp_path):
    pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
    recipe = tiny_recipe(tmp_path, data={"rooms": [3, 2], "frames": 5}, **SYN)
    takes = takes_of(recipe, tmp_path)
    assert list(takes) == ["room_000003", "room_000004"]
    (middle,) = clips_to_make(recipe, takes["room_000003"])
    assert (middle.name, middle.start) == ("room_000003", (93 - 17) // 2)
    several = tiny_recipe(tmp_path, data={"rooms": [3, 2], "frames": 5, "clips": 9}, **SYN)
    clips = clips_to_make(several, takes["room_000003"])
    assert [(clip.name, clip.start) for clip in clips] == [(f"room_000003@{n}", 19 * (n - 1)) for n in range(1, 6)]
    assert {clip.made["of"] for clip in clips} == {"5"}
    (egox,) = clips_to_make(tiny_recipe(tmp_path, data={"rooms": [3, 2], "clips": 9}), takes["room_000003"])
    assert (egox.name, egox.start) == ("room_000003", 0)
    assert RoomTake(3).made() == RoomTake(3).made() != RoomTake(4).made()


def test_a_folder_of_ego_exo4d(tmp_path):
    tree = write_tree(tmp_path)
    recipe = tiny_recipe(tmp_path, data={"takes": ["egoexo#*"], "frames": 5}, **SYN)
    (take,) = takes_of(recipe, tmp_path).values()
    assert take == EgoExo4DTake(tree.root, TAKE)
    assert take.n_frames() == 45  # the task's frames 12 to 56
    read = take.views(Clip(4, 5, 4, 32), EgoView.UNDISTORTED)
    assert [view.name for view in read.exo] == ["cam01", "cam02", "cam03", "cam04"]
    before = take.made()
    tree.edit_take(task_start_sec=0.5)
    assert {key for key, value in take.made().items() if before[key] != value} == {"entry"}
    with pytest.raises(ValueError, match="without depth and ego prior, and EgoX is trained on both"):
        take.take(5, (32, 32), (32, 32))
    with pytest.raises(
        ValueError, match=r"is a folder of Ego-Exo4D: name a take in it, egoexo#TAKE, or all, egoexo#\*"
    ):
        takes_of(tiny_recipe(tmp_path, data={"takes": ["egoexo"]}, **SYN), tmp_path)
