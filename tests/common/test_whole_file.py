"""A file appears whole or not at all."""

import errno
import resource

import pytest

from exo2ego.common.whole_file import NoRoomError, whole_file


def test_a_finished_block_replaces_the_file(tmp_path):
    path = tmp_path / "new folder" / "note.txt"
    for text in ("first", "second"):
        with whole_file(path) as unfinished:
            unfinished.write_text(text)
            assert unfinished.suffix == ".txt"
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_block_leaves_what_was_there(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("old")

    def fail():
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence_and_changes_nothing(small_disk):
    """A real file system without room."""
    path = small_disk / "note.bin"
    with whole_file(path) as unfinished:
        unfinished.write_bytes(b"old")
    told = r"note\.bin could not be written: the disk is full after .*Make room"
    with pytest.raises(NoRoomError, match=told) as raised:
        fill(path)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_a_file_too_large_is_a_sentence_too(tmp_path):
    """As on FAT, or where a user's files are limited."""
    path, limits = tmp_path / "note.bin", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(NoRoomError, match="larger than this disk or user may have"):
            fill(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_are_passed_on(tmp_path):
    def fail():
        with whole_file(tmp_path / "note.txt"):
            raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        fail()


def fill(path):
    with whole_file(path) as unfinished, open(unfinished, "wb") as file:
        for _ in range(8):
            file.write(bytes(2**20))
