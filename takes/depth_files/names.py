"""Depth below one folder, such as ComfyUI's input folder, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ...common.file_inputs import FileKind
from ...common.paths import entries
from ...geometry.depth.declared import Declared
from ..clips.cut import Cut
from ..files import check_inside, resolve_inside
from ..library import NamedInputs
from ..listing import ARRAY_SUFFIXES, DEPTH_SUFFIXES, depth_files_of, is_picture, is_video, names_inside
from .read import MapsPart, ReadDepth, open_depth, read_depth


def _list_depth(root: Path) -> list[str]:
    """List arrays, folders with one file a map, pictures outside of these, and videos."""
    files, inside = names_inside(root)
    arrays = [name for name in files if name.lower().endswith(ARRAY_SUFFIXES)]
    pictures = [name for name in files if is_picture(_base(name), DEPTH_SUFFIXES)]
    count = Counter(_folder(name) for name in pictures)
    folders = {folder for folder, many in count.items() if folder and many > 1}
    # Of folders in folders the files are not listed.
    folders |= {
        name
        for name in inside
        if "/" in name and any(is_picture(path.name, DEPTH_SUFFIXES) for path in entries(root / name))
    }
    single = [name for name in pictures if _folder(name) not in folders and name not in arrays]
    # Those first that can hold nothing else than depth or pictures of light.
    single.sort(key=lambda name: not name.lower().endswith((".exr", ".tif", ".tiff")))
    videos = [name for name in files if is_video(_base(name))]
    return [*arrays, *sorted(folders), *single, *videos]


def _find_depth(root: Path, name: str) -> tuple[Path, ...]:
    found = depth_files_of(root, name, lambda text: resolve_inside(root, text))
    if found is None:
        return (resolve_inside(root, name),)
    check_inside(root, found)
    return tuple(found)


def _load_depth(
    paths: tuple[Path, ...],
    *,
    declared: Declared,
    part: MapsPart,
    cut: Cut | None,
    progress: Callable[[int, int], None] | None,
) -> ReadDepth:
    return read_depth(open_depth(paths), declared, part, cut, progress)


def _none(**_: object) -> ReadDepth:
    raise ValueError("No depth file is chosen. Choose one, or connect images.")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _base(name: str) -> str:
    return name.rpartition("/")[2]


# Settings: `declared`, what the numbers hold; `part`, which maps; `cut` of the clip they belong to, or None; and
# `progress`, called with (done, total) after each map. The built-in entry is none at all.
DEPTH_FILES: NamedInputs[tuple[Path, ...], ReadDepth] = NamedInputs(
    FileKind.DEPTH, _list_depth, _find_depth, list, _load_depth, _none, built_in="none"
)
