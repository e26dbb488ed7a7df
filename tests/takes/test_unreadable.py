"""Lists and look-ups in a folder with parts that nobody may look at: the rest is offered, and every error is clear."""

from __future__ import annotations

import os
import stat

import pytest

from exo2ego.common import paths
from exo2ego.takes import library
from exo2ego.takes.depth_files.names import DEPTH_FILES
from exo2ego.takes.library import CAMERAS, KEYPOINTS, TAKES, VIEWS
from exo2ego.takes.listing import names_inside, unreadable_inside
from support.unreadable import as_stranger, make_unreadable, open_folder

KINDS = {"takes": TAKES, "views": VIEWS, "cameras": CAMERAS, "keypoints": KEYPOINTS, "depth": DEPTH_FILES}

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


@pytest.fixture
def root():
    with open_folder() as folder:
        (folder / "good").mkdir()
        (folder / "good" / "meta.json").write_text('{"ego_extrinsics": []}')
        (folder / "good" / "depth.npy").touch()
        make_unreadable(folder)
        yield folder


def test_the_rights_stop_the_stranger(root):
    """Otherwise the tests below would show nothing."""
    with as_stranger():
        with pytest.raises(PermissionError):
            os.listdir(root / "lost+found")
        with pytest.raises(PermissionError):
            (root / "blind" / "meta.json").stat()


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_read_is_listed(root, kind, caplog):
    with as_stranger():
        first, again = KINDS[kind].names(root), KINDS[kind].names(root)
    assert first == again
    expected = {"takes": "good", "cameras": "good/meta.json", "keypoints": "good/meta.json", "depth": "good/depth.npy"}
    if kind in expected:
        assert expected[kind] in first
    assert not [name for name in first if name.startswith(("lost+found", "into", "circle", "pipe", "too long"))]
    said = [text for text in caplog.messages if "lost+found" in text]
    assert len(said) == 1
    assert "Permission denied" in said[0]
    assert unreadable_inside(root) == ["lost+found"]


def test_a_folder_that_can_be_read_again_is_listed(root):
    with as_stranger():
        names_inside(root)
    (root / "lost+found").chmod(0o755)
    with as_stranger():
        assert "lost+found/depth.npy" in names_inside(root)[0]
    assert unreadable_inside(root) == []


def error_of(function, *arguments) -> Exception | None:
    try:
        function(*arguments)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_every_odd_name_gets_a_clear_error(root, kind):
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.parent.name != "good"]
    names += [f"{name}#take" for name in names] + ["n" * 300, "a/" * 3000, "\ud800", "lost+found/below/absent"]
    names = [name for name in names if not name.startswith("good")]
    for name in names:
        with as_stranger():
            error = error_of(KINDS[kind].files, root, name)
        if error is not None:
            assert type(error) is ValueError, f"{name!r}: {error!r}"  # a UnicodeError is one too
            assert str(error)[-1] in ".)", f"{name!r}: {error}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_root_that_cannot_be_read(root, kind):
    for name in ("lost+found", "absent", "pipe.npy", "a circle", "good/depth.npy", "n" * 300):
        with as_stranger():
            assert KINDS[kind].names(root / name) == [KINDS[kind].built_in]


def test_names_that_an_editor_cannot_show_are_not_offered(root, caplog):
    library._said.clear()
    odd = ["<img src=x onerror=alert(1)>.npy", "a\x1b[2J.npy", "two\nlines.npy", "broken \udcff.npy"]
    for name in odd:
        (root / name).touch()
    (root / "5 < 6 & 7.npy").touch()
    listed = DEPTH_FILES.names(root)
    assert "5 < 6 & 7.npy" in listed
    assert not set(odd) & set(listed)
    (said,) = [text for text in caplog.messages if "markup" in text]
    assert "\x1b" not in said
    DEPTH_FILES.names(root)
    assert len([text for text in caplog.messages if "markup" in text]) == 1
    DEPTH_FILES.check(root, odd[0])  # who names it gets it


def test_looking_never_raises(root):
    odd = [*root.rglob("*"), root / ("n" * 300), "\0", "a\ud800", root / "lost+found" / "below"]
    with as_stranger():
        for path in odd:
            for look in (paths.is_file, paths.is_folder, paths.is_there, paths.size_of, paths.stamp, paths.entries):
                look(path)
            paths.files_in(path, "*")
            paths.real_path(path)
        assert not paths.is_file(root / "pipe.npy")
        assert stat.S_ISFIFO(os.stat(root / "pipe.npy").st_mode)
