"""What a manifest's clip sends: a video, a picture, a folder of pictures, or those that match a pattern."""

from __future__ import annotations

import pytest

from exo2ego.commands.batch.errors import ClipError
from exo2ego.commands.batch.sources import Here, source_of, uploads_of
from exo2ego.common.file_inputs import FileInput, FileKind

CLIP = FileInput(FileKind.CLIP, "example room")


@pytest.fixture
def here(tmp_path):
    for name in ("clip.mp4", "shot/a_2.png", "shot/a_10.png", "shot/b_1.png", "shot/notes.txt", "empty/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return Here(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("value", "files", "named"),
    [
        ("clip.mp4", ["clip.mp4"], "clip.mp4"),
        ("shot/b_1.png", ["b_1.png"], "b_1.png"),
        ("shot", ["shot/b_1.png", "shot/a_2.png", "shot/a_10.png"], "shot"),
        ("shot/a_%d.png", ["shot/a_2.png", "shot/a_10.png"], "shot"),
        ("shot/a_*.png", ["shot/a_2.png", "shot/a_10.png"], "shot"),
        ("upload:shot/a_*.png", ["shot/a_2.png", "shot/a_10.png"], "shot"),
    ],
)
def test_the_files_of_a_clip(here, value, files, named):
    source = source_of(value, CLIP, here)
    assert [place for _, place in source.files] == files
    assert source.value == named
    sent, uploads = uploads_of(source)
    assert sent.endswith(f"/{named}")
    assert [upload.name for upload in uploads] == [place.rpartition("/")[2] for place in files]


@pytest.mark.parametrize("value", ["example room", "input:clip.mp4"])
def test_what_is_not_sent(here, value):
    assert source_of(value, CLIP, here) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [("absent.mp4", "There is no"), ("empty", "No picture lies"), ("shot/c_*.png", "No picture matches")],
)
def test_what_is_no_clip(here, value, said):
    with pytest.raises(ClipError, match=said):
        source_of(value, CLIP, here)


def test_nothing_outside_the_root_is_sent(here):
    inner = Here(here.folder, here.folder / "shot")
    with pytest.raises(ClipError, match="outside --root"):
        source_of("clip.mp4", CLIP, inner)
    with pytest.raises(ClipError, match="outside --root"):
        source_of("../*.png", CLIP, inner)


@pytest.mark.parametrize(
    ("value", "files", "named"),
    [
        ("depth.npy", ["depth.npy"], "depth.npy"),
        # The kind of which there are most: previews lie beside depth.
        ("maps", ["maps/z_2.exr", "maps/z_10.exr"], "maps"),
        ("maps/*.png", ["maps/z_2.png"], "maps"),
    ],
)
def test_the_files_of_depth(here, value, files, named):
    for name in ("depth.npy", "maps/z_2.exr", "maps/z_10.exr", "maps/z_2.png", "maps/notes.txt"):
        (here.folder / name).parent.mkdir(exist_ok=True)
        (here.folder / name).write_text(name)
    depth = FileInput(FileKind.DEPTH, "none")
    source = source_of(value, depth, here)
    assert [place for _, place in source.files] == files
    assert source.value == named
    assert source_of("none", depth, here) is None
    with pytest.raises(ClipError, match="No picture lies"):
        source_of("empty", depth, here)
