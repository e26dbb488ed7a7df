"""The takes of one folder, such as ComfyUI's input folder, and the built-in example: listed and loaded by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ..geometry.camera import Camera
from ..geometry.presets import RELEASE_SIZE, LensPreset, preset_lens
from .camera_files import RELEASE_EXO_SIZE, CameraRole
from .egox import DATASET_KEY, META_FILE, dataset_entry, dataset_names, read_dataset_take, read_take, split_take_name
from .example_room import ExampleRoom, example_take
from .files import load_json, resolve_inside
from .take import Take

EXAMPLE_ROOM = "example room"
EXAMPLE_FRAMES = 49

_LISTED_DEPTH = 2  # folders deep: listing must stay quick in an input folder of any size


def list_takes(root: Path) -> list[str]:
    """List the takes below `root` as names for `load_take`: `FOLDER`, or `FOLDER#NAME` for a dataset's.

    The example room comes first.
    """
    return [EXAMPLE_ROOM, *sorted(name for path in _meta_files(root) for name in _names_in(root, path))]


def check_take(root: Path, name: str) -> None:
    """Check that a name means a take, without loading it.

    Raises:
        ValueError: if it leaves `root`, or there is no such take.
    """
    if name == EXAMPLE_ROOM:
        return
    folder_name, take = split_take_name(name)
    folder = resolve_inside(root, folder_name)
    if take is not None:
        dataset_entry(folder, take)
    elif not (folder / META_FILE).is_file():
        raise ValueError(f"The folder {folder_name!r} holds no {META_FILE}, so it is no take. Choose another folder.")


def load_take(
    root: Path,
    name: str,
    *,
    lens: LensPreset,
    max_frames: int,
    progress: Callable[[int, int], None] | None = None,
) -> Take:
    """Load a take by its name.

    Args:
        root: the folder that must hold it.
        name: `FOLDER`, `FOLDER#NAME` for one take of a dataset, or the example room, which is made on the spot.
        lens: the ego lens.
        max_frames: frames to keep from the start; the example room has `EXAMPLE_FRAMES` at most.
        progress: called with (done, total) while the example room is made.

    Raises:
        ValueError: if the name leaves `root`, or the take cannot be read.
    """
    if name == EXAMPLE_ROOM:
        return example_take(min(max_frames, EXAMPLE_FRAMES), lens=lens, progress=progress)
    folder_name, take_name = split_take_name(name)
    folder = resolve_inside(root, folder_name)
    if take_name is None:
        return first_frames(read_take(folder, lens=lens), max_frames)
    return first_frames(read_dataset_take(folder, take_name, lens=lens), max_frames)


def example_camera(role: CameraRole, *, lens: LensPreset, width: int = 0, height: int = 0) -> Camera:
    """Return a camera of the example room.

    Args:
        role: the exo or the ego camera.
        lens: the ego camera's lens.
        width: image width in pixels; 0 for the release's.
        height: image height in pixels; 0 for the release's.
    """
    room = ExampleRoom(EXAMPLE_FRAMES)
    if role is CameraRole.EXO:
        return room.exo_camera(width or RELEASE_EXO_SIZE[0], height or RELEASE_EXO_SIZE[1])
    width, height = width or RELEASE_SIZE, height or RELEASE_SIZE
    return room.ego_camera(preset_lens(lens, width, height), width, height)


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
