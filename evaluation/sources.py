"""Which videos belong together: true ego views of takes or files, and what a method or a batch made of each."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.messages import few
from ..common.paths import entries, files_in, is_file, is_folder, is_there
from ..takes.egox.layout import EXO_FILE, META_FILE, PRIOR_FILE, TRUTH_FILE, VIDEOS_FOLDER, names_in_meta
from ..takes.files import split_named

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
EGO_FILE = "ego.mp4"  # what the shipped workflows call their ego video
_PRIOR_FILES = (PRIOR_FILE, "ego_prior.mp4")  # a take's, and the shipped workflows'
_BATCH_CLIPS = "clips"  # where the batch command leaves a folder for each clip


@dataclass(frozen=True)
class TrueClip:
    """A clip whose true ego view is known.

    Attributes:
        name: the take's or the file's, without suffix.
        truth: the true ego view's video.
        prior: the ego prior's, where one lies beside it.
        exo: the third-person video, likewise.
    """

    name: str
    truth: Path
    prior: Path | None = None
    exo: Path | None = None


def true_clips(text: str) -> tuple[list[TrueClip], list[str]]:
    """Find clips with a true ego view.

    Args:
        text: a video; a take folder; a dataset in EgoX's layout, or `DATASET#NAME` for one of its takes; a folder of
            take folders; or a folder of videos, one a clip.

    Returns:
        The clips by name, and the names of takes that have none.

    Raises:
        ValueError: if nothing is there, or no clip has a true ego view.
    """
    path, name = split_named(text, _existing)
    if is_file(path):
        return [TrueClip(path.stem, path)], []
    folders = _take_folders(path, name)
    clips = [_take(take, folder) for take, folder in folders if is_file(folder / TRUTH_FILE)]
    without = [take for take, folder in folders if not is_file(folder / TRUTH_FILE)]
    if not folders:
        clips = [TrueClip(video.stem, video) for video in _videos_in(path)]
    if not clips:
        what = f"no {TRUTH_FILE} in {few(without)}" if without else f"neither takes with {TRUTH_FILE} nor videos"
        raise ValueError(f"{path} has no true ego view: {what}. Give a video, takes, or a folder of videos.")
    return sorted(clips, key=lambda clip: clip.name), without


def scored_video(source: str, clip: str, lone: bool, file: str = EGO_FILE) -> Path:
    """Find a method's video of a clip.

    Args:
        source: a video, where there is one clip alone; what the batch command left; a folder with `CLIP.mp4`, or with
            `CLIP/ego.mp4`.
        clip: its name.
        lone: whether there is no other clip.
        file: what the video is called in a clip's own folder.

    Raises:
        ValueError: if there is none.
    """
    path = _existing(source)
    if is_file(path):
        if not lone:
            raise ValueError(f"{path} is one video, and there are several clips. Give a folder with one a clip.")
        return path
    tried = [path / f"{clip}{suffix}" for suffix in VIDEO_SUFFIXES]
    tried += [folder / file for folder in _clip_folders(path, clip, lone)]
    for candidate in tried:
        if is_file(candidate):
            return candidate
    raise ValueError(
        f"{path} has no video of the clip {clip}: expected {clip}.mp4, {clip}/{file}, or {_BATCH_CLIPS}/{clip}/{file} "
        "as a batch leaves it. --file names another file."
    )


def prior_of(clip: TrueClip, sources: Sequence[str], lone: bool) -> Path | None:
    """Return the ego prior's video: the take's own, else the first that lies in the sources; `None` if none does."""
    if clip.prior is not None:
        return clip.prior
    for path in map(Path, sources):
        if is_file(path):
            if lone and path.name in _PRIOR_FILES:
                return path
            continue
        for folder in _clip_folders(path, clip.name, lone):
            if found := _first(folder, _PRIOR_FILES):
                return found
    return None


def read_groups(path: Path) -> dict[str, str]:
    """Read which group each clip belongs to, such as seen and unseen scenes: a CSV with the columns name and group.

    Raises:
        ValueError: if the file cannot be read, or lacks a column.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"name", "group"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{path} has the columns {reader.fieldnames}; expected name and group.")
            return {row["name"]: row["group"] for row in reader if row["name"] and row["group"]}
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as CSV ({error}). Expected the columns name and group.") from error


def _existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not is_there(path):
        raise ValueError(f"There is nothing at {path}. Check the name.")
    return path


def _take_folders(path: Path, name: str | None) -> list[tuple[str, Path]]:
    """Return the names and video folders of takes; none where the folder is of another kind."""
    names = names_in_meta(path / META_FILE) if is_file(path / META_FILE) else ()
    if name is not None:
        if name not in names:
            raise ValueError(f"{path} has no take {name!r}; it has {few([str(other) for other in names])}.")
        return [(name, path / VIDEOS_FOLDER / name)]
    if names and names != (None,):
        return [(str(take), path / VIDEOS_FOLDER / str(take)) for take in names]
    if names or is_file(path / TRUTH_FILE):
        return [(path.name or path.resolve().name, path)]
    inside = [folder for folder in entries(path) if is_folder(folder)]
    return [(folder.name, folder) for folder in inside if is_file(folder / META_FILE) or is_file(folder / TRUTH_FILE)]


def _take(name: str, folder: Path) -> TrueClip:
    exo = folder / EXO_FILE
    return TrueClip(name, folder / TRUTH_FILE, _first(folder, _PRIOR_FILES), exo if is_file(exo) else None)


def _clip_folders(path: Path, clip: str, lone: bool) -> list[Path]:
    folders = [path / _BATCH_CLIPS / clip, path / VIDEOS_FOLDER / clip, path / clip]
    return [*folders, path] if lone else folders


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if is_file(folder / name)), None)


def _videos_in(path: Path) -> list[Path]:
    return [file for file in files_in(path, "*") if file.suffix.lower() in VIDEO_SUFFIXES]
