"""Takes with several exo views below one folder, such as ComfyUI's input folder, and the built-in example.

A name is `ROOT#TAKE`: the folder that holds Ego-Exo4D's takes.json, and one of its takes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .ego_exo4d.clip import files_of_take, read_ego_exo4d
from .ego_exo4d.layout import TAKES_FILE, TakeFolder, open_take, takes_on_disk
from .example.views import example_views
from .files import resolve_named
from .library import EXAMPLE_ROOM
from .listing import names_inside
from .views import Clip, EgoView, MultiViewTake


def list_view_takes(limit: Path) -> list[str]:
    """List the takes below `limit` as names for `load_views`. The example room comes first."""
    roots = [folder for folder in names_inside(limit)[1] if (limit / folder / TAKES_FILE).is_file()]
    return [EXAMPLE_ROOM, *(f"{root}#{take}" for root in roots for take in takes_on_disk(limit, limit / root))]


def check_view_take(limit: Path, name: str) -> None:
    """Check that a name means a take, without loading it.

    Raises:
        ValueError: if it leaves `limit`, or there is no such take.
    """
    if name != EXAMPLE_ROOM:
        _open(limit, name)


def view_take_files(limit: Path, name: str) -> list[Path]:
    """List the files that a take is read from, to tell whether it has changed.

    Raises:
        ValueError: as `check_view_take`.
    """
    take = _open(limit, name)
    return [take.root / TAKES_FILE, *files_of_take(take)]


def load_views(
    limit: Path,
    name: str,
    *,
    clip: Clip,
    ego_view: EgoView = EgoView.UNDISTORTED,
    progress: Callable[[int, int], None] | None = None,
) -> MultiViewTake:
    """Load a clip of a take by its name.

    Args:
        limit: the folder that must hold it.
        name: `ROOT#TAKE`, or the example room, which is made on the spot.
        clip: which frames, and how large.
        ego_view: what the ego pictures are.
        progress: called with (done, total) after each picture that is read or made.

    Raises:
        ValueError: if the name leaves `limit`, or the take cannot be read.
    """
    if name == EXAMPLE_ROOM:
        return example_views(clip, ego_view, progress)
    return read_ego_exo4d(_open(limit, name), clip, ego_view, progress)


def _open(limit: Path, name: str) -> TakeFolder:
    root, take = resolve_named(limit, name)
    if take is None:
        raise ValueError(f"{name!r} names no take. Write FOLDER#TAKE, where FOLDER holds Ego-Exo4D's {TAKES_FILE}.")
    return open_take(limit, root, take)
