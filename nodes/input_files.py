"""Files the artist names: always inside ComfyUI's input folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import folder_paths

from ..takes.files import resolve_inside


def input_folder() -> Path:
    """Return ComfyUI's input folder."""
    return Path(folder_paths.get_input_directory())


def input_path(name: str) -> Path:
    """Return the path that `name` means inside the input folder.

    Raises:
        ValueError: if it leaves that folder or does not exist.
    """
    return resolve_inside(input_folder(), name)


def files_in_input(suffixes: Iterable[str], depth: int = 2) -> list[str]:
    """List files with one of these suffixes in the input folder, `depth` folders deep, as names for `input_path`."""
    wanted = tuple(suffixes)
    root = input_folder()
    patterns = ["/".join(["*"] * level) for level in range(1, depth + 1)]
    found = {path for pattern in patterns for path in root.glob(pattern) if path.name.lower().endswith(wanted)}
    return sorted(path.relative_to(root).as_posix() for path in found if path.is_file())


def check_choice(name: str, built_in: str) -> bool | str:
    """Check what an artist or an API user chose: the built-in entry, or a file in the input folder.

    Lists of files are made when the editor loads, so a node that calls this also takes files that came later.

    Returns:
        True, or what is wrong with the name.
    """
    try:
        return name == built_in or input_path(name).is_file() or f"{name!r} is a folder; choose a file in it."
    except ValueError as error:
        return str(error)


def fingerprint(name: str, built_in: str) -> tuple[str, ...]:
    """Return what changes when a chosen file, or any file of a chosen folder, changes."""
    if name == built_in:
        return (name,)
    try:
        path = input_path(name.split("#")[0])
    except ValueError:
        return ("missing",)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return tuple(f"{file}:{file.stat().st_mtime_ns}:{file.stat().st_size}" for file in files if file.is_file())
