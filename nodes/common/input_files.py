"""Files the artist names: always inside ComfyUI's input folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import folder_paths

from ...takes.files import resolve_inside
from ...takes.listing import names_inside


def input_folder() -> Path:
    """Return ComfyUI's input folder."""
    return Path(folder_paths.get_input_directory())


def input_path(name: str) -> Path:
    """Return the path that `name` means inside the input folder.

    Raises:
        ValueError: if it leaves that folder or does not exist.
    """
    return resolve_inside(input_folder(), name)


def files_in_input(suffixes: Iterable[str], levels: int = 2) -> list[str]:
    """List files with one of these suffixes in the input folder, `levels` deep, as names for `input_path`."""
    wanted = tuple(suffixes)
    return [name for name in names_inside(input_folder(), levels)[0] if name.lower().endswith(wanted)]


def check_file(root: Path, name: str) -> None:
    """Check that a name means a file in `root`.

    Raises:
        ValueError: if it does not.
    """
    if not resolve_inside(root, name).is_file():
        raise ValueError(f"{name!r} is a folder; choose a file in it.")


def the_file(root: Path, name: str) -> list[Path]:
    """Return the file that a name means in `root`.

    Raises:
        ValueError: as `resolve_inside`.
    """
    return [resolve_inside(root, name)]


def check_choice(name: str | None, built_in: str, check: Callable[[Path, str], None] = check_file) -> bool | str:
    """Check what an artist or an API user chose: the built-in entry, or something in the input folder.

    Lists of files are made when the editor loads, so a node that calls this also takes files that came later.

    Args:
        name: the choice; `None` where it comes through a link, which ComfyUI knows only once the node runs.
        built_in: the entry that is no file.
        check: raises ValueError for a name in the input folder that is none.

    Returns:
        True, or what is wrong with the name.
    """
    if name is None or name == built_in:
        return True
    if not isinstance(name, str):
        return f"Expected the name of a file or folder below ComfyUI's input folder, got {name!r}."
    try:
        check(input_folder(), name)
    except ValueError as error:
        return str(error)
    return True


def fingerprint(
    name: str | None, built_in: str, files: Callable[[Path, str], list[Path]] = the_file
) -> tuple[str, ...]:
    """Return what changes when a file behind a choice changes.

    Args:
        name: the choice; `None` where it comes through a link: the linked node's own changes count then.
        built_in: the entry that is no file.
        files: lists the files that a name in the input folder stands for; raises ValueError where it is none.
    """
    if name is None or name == built_in:
        return (str(name),)
    try:
        paths = files(input_folder(), name)
    except ValueError:
        return ("missing",)
    return tuple(f"{path}:{path.stat().st_mtime_ns}:{path.stat().st_size}" for path in paths if path.is_file())
