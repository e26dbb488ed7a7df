"""Takes and cameras of one folder, such as ComfyUI's input folder, and the built-in example, listed and loaded by name.

A name is a path below the folder, or `PATH#NAME` for one take of a dataset in EgoX's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..geometry.cameras.camera import Camera
from ..geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from .camera_formats.read import CAMERA_SUFFIXES, RELEASE_EXO_SIZE, CameraRole, fit, read_camera
from .egox.read import META_FILE, dataset_entry, files_of_take, names_in_meta, read_dataset_take, read_take
from .example.room import ExampleRoom, example_take
from .files import resolve_named
from .listing import Memo, names_inside
from .take import Take

EXAMPLE_ROOM = "example room"
EXAMPLE_FRAMES = 49

_names_in_meta = Memo(names_in_meta)


# Takes ----------------------------------------------------------------------------------------------------------


def list_takes(root: Path) -> list[str]:
    """List the takes below `root` as names for `load_take`: `FOLDER`, or `FOLDER#NAME` for a dataset's.

    The example room comes first.
    """
    _, folders = names_inside(root)
    names = {_joined(folder, take) for folder in folders for take in _takes_in(root / folder / META_FILE)}
    return [EXAMPLE_ROOM, *sorted(names)]


def check_take(root: Path, name: str) -> None:
    """Check that a name means a take, without loading it.

    Raises:
        ValueError: if it leaves `root`, or there is no such take.
    """
    if name == EXAMPLE_ROOM:
        return
    folder, take = resolve_named(root, name)
    if take is not None:
        _check_dataset(folder / META_FILE, take)
    elif not (folder / META_FILE).is_file():
        raise ValueError(f"The folder {name!r} holds no {META_FILE}, so it is no take. Choose another folder.")


def take_files(root: Path, name: str) -> list[Path]:
    """List the files that a take is read from, to tell whether it has changed.

    Raises:
        ValueError: if the name leaves `root`, or nothing is there.
    """
    return files_of_take(*resolve_named(root, name))


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
        max_frames: frames to read from the start; the example room has `EXAMPLE_FRAMES` at most.
        progress: called with (done, total) after each frame that is read or made.

    Raises:
        ValueError: if the name leaves `root`, or the take cannot be read.
    """
    if name == EXAMPLE_ROOM:
        return example_take(min(max_frames, EXAMPLE_FRAMES), lens=lens, progress=progress)
    folder, take = resolve_named(root, name)
    if take is None:
        return read_take(folder, lens=lens, max_frames=max_frames, progress=progress)
    return read_dataset_take(folder, take, lens=lens, max_frames=max_frames, progress=progress)


# Cameras --------------------------------------------------------------------------------------------------------


def list_cameras(root: Path) -> list[str]:
    """List the camera files below `root` as names for `load_camera`: `FILE`, or `FILE#NAME` for a take of a dataset.

    The example room comes first. Only files with `meta` in their name are looked into for a dataset's takes.
    """
    names = []
    for file in names_inside(root)[0]:
        if file.lower().endswith(CAMERA_SUFFIXES):
            takes = _takes_in(root / file) if _may_be_meta(file) else ()
            names += [_joined(file, take) for take in takes or (None,)]
    return [EXAMPLE_ROOM, *names]


def check_camera(root: Path, name: str) -> None:
    """Check that a name means a file, and a take in it where it names one, without loading it.

    Raises:
        ValueError: if it leaves `root`, or there is no such file or take.
    """
    if name == EXAMPLE_ROOM:
        return
    path, take = resolve_named(root, name)
    if not path.is_file():
        raise ValueError(f"{name!r} is a folder; choose a file in it.")
    if take is not None:
        _check_dataset(path, take)


def camera_files(root: Path, name: str) -> list[Path]:
    """List the files that a camera is read from, to tell whether it has changed.

    Raises:
        ValueError: if the name leaves `root`, or nothing is there.
    """
    return [resolve_named(root, name)[0]]


def load_camera(
    root: Path, name: str, role: CameraRole, *, lens: LensPreset, width: int = 0, height: int = 0
) -> Camera:
    """Load a camera by its name.

    Args:
        root: the folder that must hold its file.
        name: `FILE`, `FILE#NAME` for a take of a dataset's meta.json, or the example room.
        role: the exo or the ego camera, where the file holds both.
        lens: the ego lens, where the file tells none.
        width: image width in pixels, as in `read_camera`.
        height: image height in pixels, as in `read_camera`.

    Raises:
        ValueError: if the name leaves `root`, or the file cannot be read.
    """
    if name == EXAMPLE_ROOM:
        return example_camera(role, lens=lens, width=width, height=height)
    check_camera(root, name)
    path, take = resolve_named(root, name)
    return read_camera(path, role, lens=lens, width=width, height=height, take=take)


def example_camera(role: CameraRole, *, lens: LensPreset, width: int = 0, height: int = 0) -> Camera:
    """Return a camera of the example room.

    Args:
        role: the exo or the ego camera.
        lens: the ego camera's lens.
        width: image width in pixels, as in `read_camera`; the release's where both are 0.
        height: image height in pixels, likewise.

    Raises:
        ValueError: if the exo camera is asked for another aspect ratio than its clip's.
    """
    room = ExampleRoom(EXAMPLE_FRAMES)
    if role is CameraRole.EXO:
        return fit(room.exo_camera(*RELEASE_EXO_SIZE), width, height)
    width, height = width or height or RELEASE_SIZE, height or width or RELEASE_SIZE
    return room.ego_camera(preset_lens(lens, width, height), width, height)


def _may_be_meta(file: str) -> bool:
    name = file.rpartition("/")[2].lower()
    return name.endswith(".json") and "meta" in name


def _takes_in(meta_file: Path) -> tuple[str | None, ...]:
    """Return what `names_in_meta` finds in a file; a missing or unreadable one has nothing."""
    try:
        return _names_in_meta(meta_file)
    except OSError:
        return ()


def _check_dataset(meta_file: Path, take: str) -> None:
    if take not in _takes_in(meta_file):
        dataset_entry(meta_file, take)  # says what is wrong


def _joined(path: str, take: str | None) -> str:
    return path if take is None else f"{path}#{take}"
