"""What lies in one folder, such as ComfyUI's input folder, listed and loaded by name: takes, cameras, keypoints.

A name is a path below the folder, or `PATH#NAME` for one of several things in it; or it means the built-in example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..common.file_inputs import FileInput, FileKind
from ..common.messages import few, sentence
from ..common.paths import is_file
from ..common.safe_text import is_fit_to_list, one_line, safe_logger
from ..geometry.cameras.camera import Camera
from ..geometry.cameras.presets import RELEASE_SIZE, LensPreset, preset_lens
from .camera_formats.read import CAMERA_SUFFIXES, RELEASE_EXO_SIZE, CameraRole, fit, read_camera
from .ego_exo4d.clip import read_ego_exo4d
from .ego_exo4d.layout import TAKES_FILE, TakeFolder, open_take, takes_on_disk
from .egox.read import META_FILE, dataset_entry, files_of_take, names_in_meta, read_dataset_take, read_take
from .example.room import ExampleRoom, example_take
from .example.views import example_views
from .files import check_inside, resolve_inside, resolve_named
from .keypoint_files import example_frames, read_keypoints
from .listing import Memo, file_or_files_in, names_inside
from .resize import resized_take, whole_tokens
from .take import Take
from .views import MultiViewTake

EXAMPLE_ROOM = "example room"
EXAMPLE_FRAMES = 49

Found = TypeVar("Found")
Loaded = TypeVar("Loaded")

_names_in_meta = Memo(names_in_meta)
_log = safe_logger(__name__)
_said: set[str] = set()


@dataclass(frozen=True)
class NamedInputs(Generic[Found, Loaded]):
    """One kind of things that an artist chooses by name.

    Attributes:
        kind: which files lie behind a name.
        lister: lists the names below a folder.
        finder: turns a folder and a name into what is there, unread; raises ValueError if the name leaves the folder,
            or there is no such thing.
        files_of: lists the files that what was found is read from.
        loader: reads what was found; takes further settings by their names.
        example: makes the built-in one; takes the same settings.
        built_in: what the built-in one is called.
    """

    kind: FileKind
    lister: Callable[[Path], Iterable[str]]
    finder: Callable[[Path, str], Found]
    files_of: Callable[[Found], list[Path]]
    loader: Callable[..., Loaded]
    example: Callable[..., Loaded]
    built_in: str = EXAMPLE_ROOM

    @property
    def mark(self) -> FileInput:
        """What an input that takes such names says of itself."""
        return FileInput(self.kind, self.built_in)

    def names(self, root: Path) -> list[str]:
        """List what lies below `root` as names for `load`; the built-in one comes first.

        What cannot be read is left out, and so are names that an editor cannot show; the log says so once.
        """
        names = list(self.lister(root))
        fit = [name for name in names if is_fit_to_list(name)]
        _say_once(set(names) - set(fit))
        return [self.built_in, *fit]

    def check(self, root: Path, name: str) -> None:
        """Check that a name means something that may be loaded, without loading it.

        Raises:
            ValueError: if it leaves `root`, or there is no such thing.
        """
        if name != self.built_in:
            self.finder(root, name)

    def files(self, root: Path, name: str) -> list[Path]:
        """List the files behind a name, to tell whether they have changed; none behind the built-in one.

        Raises:
            ValueError: as `check`.
        """
        return [] if name == self.built_in else self.files_of(self.finder(root, name))

    def load(self, root: Path, name: str, **settings: Any) -> Loaded:
        """Load what a name means.

        Args:
            root: the folder that must hold it.
            name: as `names` lists it, or any other that `check` accepts.
            settings: those of the loader.

        Raises:
            ValueError: as `check`, or if a file cannot be read; it names what was asked for.
        """
        if name == self.built_in:
            return self.example(**settings)
        found = self.finder(root, name)
        try:
            return self.loader(found, **settings)
        except ValueError as error:
            if Path(name).name in str(error):
                raise
            raise ValueError(f"{name}: {sentence(str(error))} Mend the file, or choose another one.") from error


# Takes ----------------------------------------------------------------------------------------------------------


def _list_takes(root: Path) -> list[str]:
    """List `FOLDER`, or `FOLDER#NAME` for a dataset's."""
    _, folders = names_inside(root)
    return sorted({_joined(folder, take) for folder in folders for take in _takes_in(root, f"{folder}/{META_FILE}")})


def _find_take(root: Path, name: str) -> tuple[Path, str | None]:
    folder, take = resolve_named(root, name)
    meta = folder / META_FILE
    if take is None and not is_file(meta):
        raise ValueError(f"The folder {name!r} contains no {META_FILE}, so it is not a take. Choose another folder.")
    check_inside(root, [meta])
    if take is not None:
        _check_dataset(meta, take)
    check_inside(root, files_of_take(folder, take))
    return folder, take


def _load_take(found: tuple[Path, str | None], height: int = 0, **settings: Any) -> Take:
    folder, name = found
    take = read_take(folder, **settings) if name is None else read_dataset_take(folder, name, **settings)
    return resized_take(take, height) if height else take


def _example_take(max_frames: int, height: int = 0, **settings: Any) -> Take:
    count = min(max_frames, EXAMPLE_FRAMES)
    if not height:
        return example_take(count, **settings)
    width = whole_tokens(*RELEASE_EXO_SIZE, height)
    return example_take(count, exo_width=width, exo_height=height, ego_size=height, **settings)


# Settings: `lens` of the ego camera, `max_frames` from the start (of the example room `EXAMPLE_FRAMES` at most),
# `height` of all views as in `resized_take`, 0 for that of the take, and `progress`, called with (done, total) after
# each frame that is read or made.
TAKES: NamedInputs[tuple[Path, str | None], Take] = NamedInputs(
    FileKind.TAKE, _list_takes, _find_take, lambda found: files_of_take(*found), _load_take, _example_take
)


# Takes with several exo views ------------------------------------------------------------------------------------


def _list_views(root: Path) -> list[str]:
    datasets = [folder for folder in names_inside(root)[1] if is_file(root / folder / TAKES_FILE)]
    return [_joined(folder, take) for folder in datasets for take in takes_on_disk(root, root / folder)]


def _find_views(root: Path, name: str) -> TakeFolder:
    folder, take = resolve_named(root, name)
    if take is None:
        raise ValueError(
            f"{name!r} does not name a take. Write FOLDER#TAKE, where FOLDER holds Ego-Exo4D's {TAKES_FILE}."
        )
    found = open_take(root, folder, take)
    found.files()  # none of them lies outside
    return found


# Settings: `clip`, which frames and how large; `ego_view`, what the ego pictures are; and `progress`, called with
# (done, total) after each picture.
VIEWS: NamedInputs[TakeFolder, MultiViewTake] = NamedInputs(
    FileKind.EGO_EXO4D,
    _list_views,
    _find_views,
    lambda take: list(take.files().values()),
    read_ego_exo4d,
    example_views,
)


# Cameras --------------------------------------------------------------------------------------------------------


def _list_cameras(root: Path) -> list[str]:
    """List `FILE`, or `FILE#NAME` for a take of a dataset, for which only files with `meta` in their name are read."""
    names = []
    for file in names_inside(root)[0]:
        if file.lower().endswith(CAMERA_SUFFIXES):
            takes = _takes_in(root, file) if _may_be_meta(file) else ()
            names += [_joined(file, take) for take in takes or (None,)]
    return names


def _find_camera(root: Path, name: str) -> tuple[Path, str | None]:
    path, take = resolve_named(root, name)
    if not is_file(path):
        raise ValueError(f"{name!r} is a folder; choose a file in it.")
    if take is not None:
        _check_dataset(path, take)
    return path, take


def _load_camera(found: tuple[Path, str | None], role: CameraRole, **settings: Any) -> Camera:
    path, take = found
    return read_camera(path, role, take=take, **settings)


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


# Settings: `role`, the exo or the ego camera, where the file holds both; `lens` of the ego camera, where the file tells
# none; `width` and `height` in pixels, as in `read_camera`.
CAMERAS: NamedInputs[tuple[Path, str | None], Camera] = NamedInputs(
    FileKind.FILE, _list_cameras, _find_camera, lambda found: [found[0]], _load_camera, example_camera
)


# Keypoints ------------------------------------------------------------------------------------------------------

_JSON = ".json"
# OpenPose names its files so; other folders are not listed, but may be named.
_OPENPOSE_MARK = "_keypoints.json"


def _list_keypoints(root: Path) -> list[str]:
    files, _ = names_inside(root)
    frames = [name for name in files if name.lower().endswith(_OPENPOSE_MARK)]
    folders = {name.rpartition("/")[0] for name in frames} - {""}
    single = [name for name in files if name.lower().endswith(_JSON) and name not in frames]
    return [*sorted(folders), *single]


def _find_keypoints(root: Path, name: str) -> list[Path]:
    files = file_or_files_in(resolve_inside(root, name), _JSON, name)
    check_inside(root, files)
    return files


# Settings: `max_frames` from the start; `width` and `height` of the picture in pixels, for files that do not tell it.
KEYPOINTS: NamedInputs[list[Path], list[Mapping[str, Any]]] = NamedInputs(
    FileKind.KEYPOINTS, _list_keypoints, _find_keypoints, list, read_keypoints, example_frames
)


# Datasets in EgoX's layout ----------------------------------------------------------------------------------------


def _may_be_meta(file: str) -> bool:
    name = file.rpartition("/")[2].lower()
    return name.endswith(".json") and "meta" in name


def _takes_in(root: Path, meta_file: str) -> tuple[str | None, ...]:
    """Return what `names_in_meta` finds in a file below `root`; a missing or unreadable one has nothing."""
    if not is_file(root / meta_file):
        return ()
    try:
        return _names_in_meta(resolve_inside(root, meta_file))
    except (OSError, ValueError):
        return ()


def _check_dataset(meta_file: Path, take: str) -> None:
    if take not in _takes_in(meta_file.parent, meta_file.name):
        dataset_entry(meta_file, take)  # says what is wrong


def _say_once(names: set[str]) -> None:
    """Write to the log which names are not offered; each once."""
    new = sorted(names - _said)
    _said.update(new)
    if new:
        _log.warning(
            "Not offered in the nodes' lists, as the names hold control characters or markup: %s. Rename them.",
            few([one_line(name) for name in new]),
        )


def _joined(path: str, take: str | None) -> str:
    return path if take is None else f"{path}#{take}"
