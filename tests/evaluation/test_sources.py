"""Which videos belong together, in every layout that is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exo2ego.evaluation.sources import prior_of, read_groups, scored_video, true_clips


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def meta(folder: Path, *names: str) -> None:
    entries = [{"exo_path": f"./videos/{name}/exo.mp4"} for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    content = {"test_datasets": entries} if names else {"ego_extrinsics": []}
    (folder / "meta.json").write_text(json.dumps(content))


def names(text: object) -> list[str]:
    return [clip.name for clip in true_clips(str(text))[0]]


def test_every_layout_of_the_truth(tmp_path):
    touch(tmp_path, "takes/b/ego_GT.mp4", "takes/a/ego_GT.mp4", "takes/a/ego_Prior.mp4", "takes/a/exo.mp4")
    meta(tmp_path / "takes" / "wild")
    clips, without = true_clips(str(tmp_path / "takes"))
    assert [clip.name for clip in clips] == ["a", "b"]
    assert without == ["wild"]
    assert (clips[0].prior.name, clips[0].exo.name, clips[1].prior) == ("ego_Prior.mp4", "exo.mp4", None)
    assert names(tmp_path / "takes" / "a") == ["a"]
    meta(tmp_path / "release", "one", "two")
    touch(tmp_path, "release/videos/one/ego_GT.mp4", "release/videos/two/ego_GT.mp4")
    assert names(tmp_path / "release") == ["one", "two"]
    assert names(f"{tmp_path / 'release'}#two") == ["two"]
    touch(tmp_path, "files/x.mp4", "files/y.webm", "files/notes.txt")
    assert names(tmp_path / "files") == ["x", "y"]
    assert names(tmp_path / "files" / "x.mp4") == ["x"]


def test_no_truth_is_told(tmp_path):
    with pytest.raises(ValueError, match="nothing at"):
        true_clips(str(tmp_path / "absent"))
    meta(tmp_path / "takes" / "wild")
    with pytest.raises(ValueError, match=r"no ego_GT\.mp4 in wild"):
        true_clips(str(tmp_path / "takes"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="neither takes"):
        true_clips(str(tmp_path / "empty"))
    meta(tmp_path / "release", "one")
    with pytest.raises(ValueError, match=r"no take 'three'; it has one"):
        true_clips(f"{tmp_path / 'release'}#three")


def test_every_layout_of_a_method(tmp_path):
    touch(tmp_path, "night/clips/a/ego.mp4", "night/clips/a/ego_prior.mp4", "plain/a.mp4", "own/a/mine.webm")
    assert scored_video(str(tmp_path / "night"), "a", False) == tmp_path / "night/clips/a/ego.mp4"
    assert scored_video(str(tmp_path / "plain"), "a", False) == tmp_path / "plain/a.mp4"
    assert scored_video(str(tmp_path / "own"), "a", False, "mine.webm") == tmp_path / "own/a/mine.webm"
    assert scored_video(str(tmp_path / "plain/a.mp4"), "b", True) == tmp_path / "plain/a.mp4"
    with pytest.raises(ValueError, match=r"no video of the clip b: expected b\.mp4, b/ego\.mp4"):
        scored_video(str(tmp_path / "night"), "b", False)
    with pytest.raises(ValueError, match="several clips"):
        scored_video(str(tmp_path / "plain/a.mp4"), "a", False)


def test_the_take_s_own_prior_comes_first(tmp_path):
    touch(tmp_path, "takes/a/ego_GT.mp4", "takes/b/ego_GT.mp4", "takes/a/ego_Prior.mp4", "night/clips/b/ego_prior.mp4")
    a, b = true_clips(str(tmp_path / "takes"))[0]
    assert prior_of(a, [str(tmp_path / "night")], False) == tmp_path / "takes/a/ego_Prior.mp4"
    assert prior_of(b, [str(tmp_path / "night")], False) == tmp_path / "night/clips/b/ego_prior.mp4"
    assert prior_of(b, [], False) is None


def test_groups(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("\ufeffname,group\na,seen\nb,unseen\nc,\n", encoding="utf-8")
    assert read_groups(file) == {"a": "seen", "b": "unseen"}
    file.write_text("clip,scene\na,seen\n")
    with pytest.raises(ValueError, match="expected name and group"):
        read_groups(file)
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        read_groups(tmp_path)
