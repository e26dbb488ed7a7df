"""Files and folders that really cannot be looked at, also for tests that run as root, whom rights do not stop."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give an empty folder that every user may enter; pytest's own is for its user alone."""
    folder = Path(tempfile.mkdtemp(prefix="exo2ego_")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for root, folders, _ in os.walk(folder):
            for name in folders:
                if not Path(root, name).is_symlink():
                    Path(root, name).chmod(0o755)
        shutil.rmtree(folder)


@contextmanager
def as_stranger() -> Iterator[None]:
    """Run a block as a user whom rights stop. What the block imports must be imported before."""
    if not hasattr(os, "geteuid"):
        pytest.skip("rights of files are another matter here")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def make_unreadable(root: Path) -> None:
    """Put everything that raises or blocks when it is looked at into a folder."""
    locked, blind = root / "lost+found", root / "blind"
    for folder in (locked, locked / "below", blind, blind / "below", root / "odd"):
        folder.mkdir()
        for name in ("meta.json", "takes.json", "depth.npy", "camera.json", "a_keypoints.json", "config.json"):
            (folder / name).write_text("{}")
    (root / "odd" / "meta.json").chmod(0)
    (root / "odd" / "takes.json").chmod(0)
    (root / "into.npy").symlink_to(locked / "below" / "depth.npy")
    (root / "into").symlink_to(locked / "below")
    (root / "a circle").symlink_to(root / "a circle")
    (root / "circle.json").symlink_to(root / "circle.json")
    (root / "circles").mkdir()
    (root / "circles" / "meta.json").symlink_to(root / "circles" / "meta.json")
    (root / "circles" / "takes.json").symlink_to("/" + "x" * 300)
    (root / "too long.npy").symlink_to("y" * 300)
    os.mkfifo(root / "pipe.npy")
    os.mkfifo(root / "pipe.json")
    (root / "pipes").mkdir()
    os.mkfifo(root / "pipes" / "meta.json")
    os.mkfifo(root / "pipes" / "takes.json")
    (root / "broken \udcff.npy").touch()
    locked.chmod(0)
    blind.chmod(0o444)  # its names may be read, and nothing behind them
