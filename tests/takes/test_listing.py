"""Lists of names: complete, without what leads out, and read again only after a change."""

import os

import pytest

from exo2ego.takes.listing import Memo, names_inside

LONG_AGO = 1_600_000_000


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "input"
    (folder / "a" / "b" / "c").mkdir(parents=True)
    for name in ("one.npy", "a/two.npy", "a/b/three.npy", "a/b/c/four.npy"):
        (folder / name).touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "five.npy").touch()
    return folder


def test_names_inside(root):
    assert names_inside(root) == (["a/two.npy", "one.npy"], ["a", "a/b"])
    assert names_inside(root, levels=1) == (["one.npy"], ["a"])
    assert names_inside(root / "absent") == ([], [])


def test_links(root):
    (root / "inward").symlink_to(root / "a")
    (root / "inward.npy").symlink_to(root / "one.npy")
    (root / "outward").symlink_to(root.parent / "outside")
    (root / "outward.npy").symlink_to(root.parent / "outside" / "five.npy")
    (root / "dangling").symlink_to(root / "absent")
    (root / "loop").symlink_to(root)
    files, folders = names_inside(root)
    assert {"inward.npy", "inward/two.npy", "loop/one.npy"} <= set(files)
    assert {"inward", "loop", "loop/a"} <= set(folders)
    assert not [name for name in files + folders if "outward" in name and not name.startswith("loop")]
    assert "dangling" not in files + folders


def test_a_root_that_is_a_link(root):
    (root.parent / "link").symlink_to(root)
    assert names_inside(root.parent / "link") == names_inside(root)


def test_a_new_file_is_found(root):
    os.utime(root, (LONG_AGO, LONG_AGO))
    os.utime(root / "a", (LONG_AGO, LONG_AGO))
    names_inside(root)
    (root / "a" / "late.npy").touch()
    assert "a/late.npy" in names_inside(root)[0]


class Reader:
    """Reads a file and counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, path):
        self.calls += 1
        return path.read_text()


def test_memo(tmp_path):
    path, read = tmp_path / "file", Reader()
    memo = Memo(read)
    path.write_text("first")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert [memo(path), memo(path), read.calls] == ["first", "first", 1]
    path.write_text("other")
    os.utime(path, (LONG_AGO, LONG_AGO + 1))
    assert memo(path) == "other"
    path.write_text("longer")
    os.utime(path, (LONG_AGO, LONG_AGO + 1))
    assert memo(path) == "longer"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        memo(path)


def test_memo_trusts_no_fresh_time_stamp(tmp_path):
    """Two changes within one tick of the clock have one time stamp."""
    path, read = tmp_path / "file", Reader()
    memo = Memo(read)
    path.write_text("first")
    memo(path)
    status = path.stat()
    path.write_text("other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert memo(path) == "other"


def test_links_in_a_circle_are_left_out(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "real.json").write_text("{}")
    assert names_inside(tmp_path) == (["real.json"], [])
