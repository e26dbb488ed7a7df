"""Keypoints saved as OpenPose JSON, and those of the example figure, listed and loaded by name.

A file holds a list of frames, as DWPose's nodes save it, or one frame, as OpenPose saves it; a folder holds one file a
frame, which are taken in the order of the numbers in their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..geometry.head.openpose import openpose_frames, read_openpose
from .camera_formats.read import RELEASE_EXO_SIZE
from .example.keypoints import example_keypoints
from .example.room import ExampleRoom
from .files import load_json, resolve_inside
from .library import EXAMPLE_ROOM
from .listing import names_inside

_SUFFIX = ".json"
# OpenPose names its files so; other folders are not listed, but may be named.
_OPENPOSE_MARK = "_keypoints.json"
_MOST_FILES = 10_000


def list_keypoints(root: Path) -> list[str]:
    """List what may hold keypoints below `root` as names for `load_keypoints`; the example room comes first."""
    files, _ = names_inside(root)
    frames = [name for name in files if name.lower().endswith(_OPENPOSE_MARK)]
    folders = {name.rpartition("/")[0] for name in frames} - {""}
    single = [name for name in files if name.lower().endswith(_SUFFIX) and name not in frames]
    return [EXAMPLE_ROOM, *sorted(folders), *single]


def check_keypoints(root: Path, name: str) -> None:
    """Check that a name means a JSON file or a folder with some, without reading them.

    Raises:
        ValueError: if it leaves `root`, or is neither.
    """
    if name != EXAMPLE_ROOM:
        keypoint_files(root, name)


def keypoint_files(root: Path, name: str) -> list[Path]:
    """Return the file that a name means, or the files of its folder, in order.

    Raises:
        ValueError: if it leaves `root`, or no JSON file is there.
    """
    path = resolve_inside(root, name)
    if path.is_file():
        if path.suffix.lower() != _SUFFIX:
            raise ValueError(f"{name!r} is no {_SUFFIX} file. Choose keypoints saved as OpenPose JSON.")
        return [path]
    inside = [resolve_inside(root, str(entry)) for entry in path.iterdir() if entry.suffix.lower() == _SUFFIX]
    files = sorted((entry for entry in inside if entry.is_file()), key=_order)
    if not files:
        raise ValueError(f"The folder {name!r} holds no {_SUFFIX} file. Choose a folder with one file a frame.")
    if len(files) > _MOST_FILES:
        raise ValueError(f"The folder {name!r} holds {len(files):,} files; expected at most {_MOST_FILES:,}.")
    return files


def load_keypoints(
    root: Path, name: str, *, max_frames: int, width: int = 0, height: int = 0
) -> list[Mapping[str, Any]]:
    """Load keypoints as POSE_KEYPOINT.

    Args:
        root: the folder that must hold them.
        name: a file, a folder with one file a frame, or the example room.
        max_frames: frames to load from the start.
        width: size of the picture in pixels, for files that do not tell it, as OpenPose's own; 0: the file tells.
        height: likewise.

    Raises:
        ValueError: as `resolve_inside`, if a file is torn or holds something else, or the picture's size is missing.
    """
    if name == EXAMPLE_ROOM:
        room = ExampleRoom(max_frames)
        camera = room.exo_camera(*RELEASE_EXO_SIZE)
        return openpose_frames(example_keypoints(room, camera), camera.width, camera.height)
    frames: list[Mapping[str, Any]] = []
    for path in keypoint_files(root, name):
        content = load_json(path)
        frames += content if isinstance(content, list) else [content]
        if len(frames) >= max_frames:
            break
    frames = frames[:max_frames]
    size = (width, height) if width and height else None
    try:
        people = read_openpose(frames, size)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    canvas = {"canvas_width": people.width, "canvas_height": people.height}
    return [{**canvas, **_of_one(frame)} for frame in frames]


def _of_one(frame: Any) -> Mapping[str, Any]:
    return frame[0] if isinstance(frame, list) else frame


def _order(path: Path) -> tuple[list[int], str]:
    """Order by the numbers in a name: frame 10 comes after frame 9."""
    return [int(number) for number in re.findall(r"\d+", path.name)], path.name
