"""Where the files of EgoX's takes lie; `egox` reads them. Imports neither torch nor anything else heavy."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from ...common.paths import files_in, is_file
from ..files import load_json

META_FILE = "meta.json"
EXO_FILE = "exo.mp4"
PRIOR_FILE = "ego_Prior.mp4"
TRUTH_FILE = "ego_GT.mp4"
DEPTH_FILES = ("depth.npz", "depth.npy", "depth_f16.npz")
EXO_CAMERA_FILE = "exo_camera.json"
VIDEOS_FOLDER = "videos"
MAPS_FOLDER = "depth_maps"
DATASET_KEY = "test_datasets"


def files_of_take(folder: Path, name: str | None = None) -> list[Path]:
    """List the files that `read_take` reads, or with a name those of `read_dataset_take`, where they exist."""
    videos, maps = folder, folder / MAPS_FOLDER
    single = DEPTH_FILES
    if name is not None:
        videos, maps, single = folder / VIDEOS_FOLDER / name, maps / name, ()
    paths = [videos / file for file in (EXO_FILE, PRIOR_FILE, TRUTH_FILE, EXO_CAMERA_FILE, *single)]
    return [path for path in (folder / META_FILE, *paths, *maps_in(maps)) if is_file(path)]


def names_in_meta(path: Path) -> tuple[str | None, ...]:
    """Return the names of the takes that a JSON file describes: `None` for a take folder's only one.

    The result is empty for any other file: many programs call theirs meta.json.
    """
    try:
        content = load_json(path)
        if isinstance(content, dict) and DATASET_KEY in content:
            names = (name_of(entry) for entry in entries_of(content, path))
            return tuple(dict.fromkeys(name for name in names if name))
    except ValueError:
        return ()
    return (None,) if isinstance(content, dict) and "ego_extrinsics" in content else ()


def maps_in(folder: Path) -> list[Path]:
    """List the .npy files of a folder in the order of the numbers in their names (frame_10 after frame_9)."""

    def parts(path: Path) -> list[tuple[int, str]]:
        return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", path.stem)]

    return sorted(files_in(folder, "*.npy"), key=parts)


def entries_of(content: Any, source: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the entries of a dataset's meta.json; refuse anything that is no list of objects."""
    entries = content.get(DATASET_KEY) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(
            f"{source} is not an EgoX dataset: expected a list under the key {DATASET_KEY!r}. Choose another folder."
        )
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(
                f"Entry {number} of {DATASET_KEY!r} in {source} is {entry!r:.40}; expected an object with the take's "
                "cameras and prompt. Mend that entry."
            )
    return entries


def name_of(entry: dict[str, Any]) -> str:
    """Return the folder of a take's videos, as its entry names it."""
    name = PurePosixPath(str(entry.get("exo_path", "")).replace("\\", "/")).parent.name
    return "" if name == ".." else name  # it names a folder below videos/
