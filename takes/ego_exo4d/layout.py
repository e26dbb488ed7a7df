"""Where Ego-Exo4D's files lie, and what its `takes.json` says of a take. Imports neither torch nor anything else heavy.

    ROOT/takes.json
    ROOT/annotations/ego_pose/{train,val,test}/camera_pose/TAKE_UID.json
    ROOT/takes/TAKE/frame_aligned_videos[/downscaled/448]/{aria01_214-1,cam01,...}.mp4    30 frames a second
    ROOT/takes/TAKE/trajectory/{gopro_calibs.csv,closed_loop_trajectory.csv,online_calibration.jsonl}
    ROOT/captures/CAPTURE/timesync.csv

The 448 px videos are preferred where both sizes are there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...common.paths import files_in, is_file, real_path
from ..files import check_inside, load_json, resolve_inside
from ..listing import Memo, names_inside

TAKES_FILE = "takes.json"
TAKES_FOLDER = "takes"
SPLITS = ("train", "val", "test")

# What to do about a file that is not as the release has it.
COPY_AGAIN = "Copy it from the Ego-Exo4D release again."
_VIDEO_FOLDERS = ("frame_aligned_videos", "frame_aligned_videos/downscaled/448")
_TRAJECTORY_FILES = ("gopro_calibs.csv", "closed_loop_trajectory.csv", "online_calibration.jsonl")
_EXO_VIDEO = re.compile(r"((?:cam|gp)\d\d)\.mp4")
_EGO_VIDEO = re.compile(r"(aria\d\d)_214-1\.mp4")
_UID = re.compile(r"[0-9A-Za-z-]+")


@dataclass(frozen=True)
class TakeEntry:
    """What `takes.json` says of a take.

    Attributes:
        name: its folder below `takes`.
        uid: names its files below `annotations`.
        task_seconds: start and end of the task in the videos; `None` where they are not told.
        capture: its folder below `captures`.
        clock_rows: first row and last row of the take in the capture's timesync.csv.
    """

    name: str
    uid: str
    task_seconds: tuple[float | None, float | None]
    capture: str
    clock_rows: tuple[int, int] | None


@dataclass(frozen=True)
class TakeFolder:
    """One take below a dataset's root.

    Attributes:
        limit: the folder that every file must lie in, links followed, such as ComfyUI's input folder.
        root: the dataset.
        entry: what `takes.json` says.
    """

    limit: Path
    root: Path
    entry: TakeEntry

    @property
    def folder(self) -> str:
        """The take's folder relative to the root."""
        return f"{TAKES_FOLDER}/{self.entry.name}"

    def find(self, name: str) -> Path | None:
        """Return the file `name` of the dataset, or `None` if there is none.

        Raises:
            ValueError: if it leads out of `limit`.
        """
        path = self.root / name
        if not is_file(path):
            return None
        check_inside(self.limit, [path])
        return real_path(path)

    def camera_pose_file(self) -> Path | None:
        """Return the take's poses of the ego pose benchmark, where it has them."""
        return next((path for path in map(self.find, self._camera_pose_names()) if path), None)

    def trajectory_file(self, name: str) -> Path | None:
        """Return a file of the take's `trajectory` folder."""
        return self.find(f"{self.folder}/trajectory/{name}")

    def exo_videos(self) -> dict[str, Path]:
        """Return the exo videos by camera, in the order of their names."""
        return self._videos(_EXO_VIDEO)

    def ego_videos(self) -> dict[str, Path]:
        """Return the colour videos of the glasses, by their names."""
        return self._videos(_EGO_VIDEO)

    def files(self) -> dict[str, Path]:
        """Return the files that the take is read from, by their names below the root."""
        names = [TAKES_FILE, *self._camera_pose_names(), f"captures/{self.entry.capture}/timesync.csv"]
        names += [f"{self.folder}/trajectory/{name}" for name in _TRAJECTORY_FILES]
        for pattern in (_EXO_VIDEO, _EGO_VIDEO):
            names += self._video_names(pattern).values()
        found = {name: self.find(name) for name in names}
        return {name: path for name, path in found.items() if path}

    def _camera_pose_names(self) -> list[str]:
        return [f"annotations/ego_pose/{split}/camera_pose/{self.entry.uid}.json" for split in SPLITS]

    def _videos(self, pattern: re.Pattern[str]) -> dict[str, Path]:
        found = {camera: self.find(name) for camera, name in self._video_names(pattern).items()}
        return {camera: path for camera, path in found.items() if path}

    def _video_names(self, pattern: re.Pattern[str]) -> dict[str, str]:
        """Return the videos' names below the root by camera; where both sizes are there, the smaller one's."""
        found: dict[str, str] = {}
        for name in (f"{self.folder}/{folder}" for folder in _VIDEO_FOLDERS):
            for file in files_in(self.root / name, "*.mp4"):
                if match := pattern.fullmatch(file.name):
                    found[match[1]] = f"{name}/{file.name}"
        return dict(sorted(found.items()))


def open_take(limit: Path, root: Path, name: str) -> TakeFolder:
    """Find a take of a dataset.

    Args:
        limit: the folder that must hold everything.
        root: the dataset, inside it.
        name: the take's name.

    Raises:
        ValueError: if `takes.json` is missing, torn or does not know the take, or the take has no folder.
    """
    if not is_file(root / TAKES_FILE):
        raise ValueError(
            f"{root} contains no {TAKES_FILE}, so it is not an Ego-Exo4D folder. Copy the file "
            "there from the release's metadata."
        )
    check_inside(limit, [root / TAKES_FILE])
    entries = take_entries(real_path(root / TAKES_FILE))
    if name not in entries:
        some = ", ".join(sorted(entries)[:3])
        raise ValueError(
            f"{root / TAKES_FILE} lists no take {name!r}; it has {len(entries)} takes, such as {some}. Choose "
            "one of these."
        )
    resolve_inside(root / TAKES_FOLDER, name)  # it exists, and its name does not climb
    return TakeFolder(limit, root, entries[name])


def takes_on_disk(limit: Path, root: Path) -> list[str]:
    """Return the names of the takes of a dataset that have a folder; none where it is no dataset."""
    try:
        entries = take_entries(resolve_inside(limit, str(root / TAKES_FILE)))
    except (ValueError, OSError):
        return []
    return [name for name in names_inside(root / TAKES_FOLDER, levels=1)[1] if name in entries]


def _read_entries(path: Path) -> dict[str, TakeEntry]:
    content = load_json(path)
    if not isinstance(content, list) or not all(isinstance(take, dict) for take in content):
        raise ValueError(f"{path} is not a list of takes. Use the file of the Ego-Exo4D release.")
    takes = [_entry(take, path) for take in content]
    return {take.name: take for take in takes}


take_entries = Memo(_read_entries)


def _entry(take: dict[str, Any], path: Path) -> TakeEntry:
    """Check one entry of `takes.json`: names become paths, so each must be one."""
    name, uid = take.get("take_name"), take.get("take_uid")
    if not isinstance(name, str) or not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise ValueError(
            f"{path} has a take with the name {name!r} and the uid {uid!r}, which are not valid. {COPY_AGAIN}"
        )
    capture = take.get("capture")
    capture_name = capture.get("capture_name") if isinstance(capture, dict) else None
    start, end = (_number(take.get(key)) for key in ("task_start_sec", "task_end_sec"))
    first, last = (_number(take.get(key)) for key in ("timesync_start_idx", "timesync_end_idx"))
    return TakeEntry(
        name=name,
        uid=uid,
        task_seconds=(start, end),
        capture=str(capture_name or re.sub(r"_\d+$", "", name)),
        clock_rows=None if first is None or last is None else (int(first), int(last)),
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
    return float(value) if is_number else None
