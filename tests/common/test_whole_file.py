"""A file appears whole or not at all."""

import pytest

from exo2ego.common.whole_file import whole_file


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
