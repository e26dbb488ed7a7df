"""Which clips are offered, and in which order."""

from __future__ import annotations

from exo2ego.takes.clips.names import CLIPS


def test_what_is_offered(tmp_path):
    for name in (
        "a.mp4",
        "B.MOV",
        "moving.gif",
        "photo.JPG",
        "notes.txt",
        ".hidden.mp4",
        "take/exo.mp4",
        "take/meta.json",
        "shot/frame_1.png",
        "project/shot/frame_1.exr",
        "project/render/frame_1.png",
        "project/render/deep/frame_1.png",
        "project/clip.mkv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    videos = ["B.MOV", "a.mp4", "moving.gif", "project/clip.mkv", "take/exo.mp4"]
    folders = ["project/render", "shot"]
    assert CLIPS.names(tmp_path) == ["example room", *videos, *folders, "photo.JPG", "shot/frame_1.png"]


def test_the_files_behind_a_name(tmp_path):
    for name in ("a.mp4", "shot/2.png", "shot/10.png", "shot/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert CLIPS.files(tmp_path, "example room") == []
    assert CLIPS.files(tmp_path, "a.mp4") == [tmp_path / "a.mp4"]
    assert [path.name for path in CLIPS.files(tmp_path, "shot")] == ["2.png", "10.png"]
    assert [path.name for path in CLIPS.files(tmp_path, "shot/1*.png")] == ["10.png"]
