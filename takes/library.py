"""The takes of one folder, such as ComfyUI's input folder: listed by name and loaded by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..geometry.presets import LensPreset
from .egox import DATASET_KEY, META_FILE, dataset_entry, dataset_names, read_dataset_take, read_take, split_take_name
from .files import load_json, resolve_inside
from .take import Take

_LISTED_DEPTH = 2  # folders deep: listing must stay quick in an input folder of any size


def list_takes(root: Path) -> list[str]:
    """List the takes below `root` as names for `load_take`: `FOLDER`, or `FOLDER#NAME` for a dataset's."""
    return sorted(name for path in _meta_files(root) for name in _names_in(root, path))


def check_take(root: Path, name: str) -> None:
    """Check that a name means a take, without loading it.

    Raises:
        ValueError: if it leaves `root`, or there is no such take.
    """
    folder_name, take = split_take_name(name)
    folder = resolve_inside(root, folder_name)
    if take is not None:
        dataset_entry(folder, take)
    elif not (folder / META_FILE).is_file():
        raise ValueError(f"The folder {folder_name!r} holds no {META_FILE}, so it is no take. Choose another folder.")


def load_take(root: Path, name: str, *, lens: LensPreset, max_frames: int) -> Take:
    """Load a take by its name.

    Args:
        root: the folder that must hold it.
        name: `FOLDER`, or `FOLDER#NAME` for one take of a dataset.
        lens: the ego lens.
        max_frames: frames to keep from the start.

    Raises:
        ValueError: if the name leaves `root`, or the take cannot be read.
    """
    folder_name, take_name = split_take_name(name)
    folder = resolve_inside(root, folder_name)
    if take_name is None:
        return first_frames(read_take(folder, lens=lens), max_frames)
    return first_frames(read_dataset_take(folder, take_name, lens=lens), max_frames)


def first_frames(take: Take, n_frames: int) -> Take:
    """Return the take cut to its first `n_frames`."""
    if n_frames >= take.n_frames:
        return take
    cameras = {
        name: camera if camera.is_fixed else camera[:n_frames]
        for name, camera in (("exo_camera", take.exo_camera), ("ego_camera", take.ego_camera))
    }
    return replace(
        take,
        **cameras,
        exo=take.exo[:n_frames],
        depth=replace(take.depth, values=take.depth.values[:n_frames]),
        ego_prior=None if take.ego_prior is None else take.ego_prior[:n_frames],
        ego_truth=None if take.ego_truth is None else take.ego_truth[:n_frames],
    )


def _meta_files(root: Path) -> Iterator[Path]:
    for depth in range(1, _LISTED_DEPTH + 1):
        yield from root.glob("/".join(["*"] * depth + [META_FILE]))


def _names_in(root: Path, meta_file: Path) -> list[str]:
    folder = meta_file.parent.relative_to(root).as_posix()
    try:
        content = load_json(meta_file)
    except ValueError:
        return []  # somebody else's meta.json: not ours to report
    if not isinstance(content, dict):
        return []
    if DATASET_KEY in content:
        return [f"{folder}#{name}" for name in dataset_names(content)]
    return [folder] if "ego_extrinsics" in content else []
