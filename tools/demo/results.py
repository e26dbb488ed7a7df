"""Files of the demo's results: each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def write(path: Path, content: bytes) -> None:
    """Write bytes."""
    write_with(path, lambda unfinished: unfinished.write_bytes(content))


def write_with(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file."""
    from exo2ego.common.whole_file import whole_file

    with whole_file(path) as unfinished:
        write(unfinished)
