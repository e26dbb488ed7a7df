"""Where clips come from: takes in EgoX's layout, Ego-Exo4D's folders, the procedural rooms."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...geometry.cameras.undistort import through_lens
from ...takes.ego_exo4d.clip import frames_of_task, read_ego_exo4d
from ...takes.ego_exo4d.layout import TAKES_FILE, TakeFolder, open_take
from ...takes.egox.layout import entries_of, name_of
from ...takes.egox.read import META_FILE, dataset_entry, files_of_take, read_dataset_take, read_take
from ...takes.example.views import SOURCE_FRAMES, ego_lenses
from ...takes.files import load_json
from ...takes.listing import Memo
from ...takes.take import Take
from ...takes.views import Clip, EgoView, MultiViewTake, View

_FRAMES = re.compile(r"_(\d+)_(\d+)$")
_FEWEST_FRAMES = 5


class TakeSource(ABC):
    """A take that clips are made of."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the take is called; its only clip is called so too."""

    @property
    def group(self) -> str:
        """What stays together when takes are split: the recording that the take was cut from."""
        return self.name

    @abstractmethod
    def made(self) -> dict[str, str]:
        """Return what the take's clips depend on: size and time of the files that are here, digests of their parts."""

    @abstractmethod
    def take(self, n_frames: int, exo_size: tuple[int, int], ego_size: tuple[int, int]) -> Take:
        """Return the take as EgoX sees it: one exo view with its depth, the first frames.

        Args:
            n_frames: frames to read.
            exo_size: width and height that the recipe says, for what is rendered; files have their own.
            ego_size: likewise.

        Raises:
            ValueError: if it cannot be read, or there is no such form of it.
        """

    @abstractmethod
    def views(self, clip: Clip, ego_view: EgoView) -> MultiViewTake:
        """Return a clip as Exo2EgoSyn sees it.

        Raises:
            ValueError: if it cannot be read, or is too short.
        """

    def n_frames(self) -> int | None:
        """Return how many source frames clips can be cut from, None where there is one clip, from the start."""
        return None


@dataclass(frozen=True)
class EgoXTake(TakeSource):
    """A take in EgoX's layout.

    Attributes:
        folder: of the take, or of the dataset.
        inner: the take's name in a dataset, None for a take folder.
    """

    folder: Path
    inner: str | None

    @property
    def name(self) -> str:
        """The folder's name, or the one in the dataset."""
        return self.folder.name if self.inner is None else self.inner

    @property
    def group(self) -> str:
        """EgoX's Ego-Exo4D clips are called TAKE_FIRST_LAST by their first and last frame: the take's name."""
        match = _FRAMES.search(self.name)
        if match and int(match[2]) - int(match[1]) + 1 >= _FEWEST_FRAMES:
            return self.name[: match.start()]
        return self.name

    def made(self) -> dict[str, str]:
        """Size and time of the take's own files. A dataset's meta.json is many takes': of it, the take's entry."""
        files = files_of_take(self.folder, self.inner)
        if self.inner is None:
            return _stamps({path.name: path for path in files})
        meta = self.folder / META_FILE
        entries = _entry_digests(meta)
        if self.inner not in entries:
            dataset_entry(meta, self.inner)  # says what is wrong
        return {"entry": entries[self.inner], **_stamps({path.name: path for path in files if path != meta})}

    def take(self, n_frames: int, exo_size: tuple[int, int], ego_size: tuple[int, int]) -> Take:
        """Read the first frames."""
        if self.inner is None:
            return read_take(self.folder, max_frames=n_frames)
        return read_dataset_take(self.folder, self.inner, max_frames=n_frames)

    def views(self, clip: Clip, ego_view: EgoView) -> MultiViewTake:
        """Read the first frames of its only exo view."""
        take = self.take(clip.start + clip.span, (0, 0), (0, 0))
        if take.ego_truth is None:
            raise ValueError(f"The take {self.name} has no true ego view (ego_GT.mp4): it is what is trained.")
        if take.n_frames < clip.start + clip.span:
            raise ValueError(
                f"{clip.n_frames} frames with stride {clip.stride} from frame {clip.start} need {clip.span} frames, "
                f"and the take {self.name} has {take.n_frames}: take fewer frames or a smaller stride."
            )
        frames = slice(clip.start, clip.start + clip.span, clip.stride)
        exo = View("exo", take.exo[frames], take.exo_camera[0])
        camera, ego = take.ego_camera.expanded(take.n_frames)[frames], take.ego_truth[frames]
        if ego_view is EgoView.UNDISTORTED:
            linear = replace(camera, lens=ego_lenses(ego_view, camera.width)[0])
            camera, ego = linear, through_lens(ego, camera.lens, linear)
        return MultiViewTake(self.name, (exo,), camera, ego, take.fps / clip.stride)


@dataclass(frozen=True)
class EgoExo4DTake(TakeSource):
    """A take of an Ego-Exo4D folder.

    Attributes:
        root: the folder with `takes.json`.
        inner: the take's name.
    """

    root: Path
    inner: str

    @property
    def name(self) -> str:
        """The take's name."""
        return self.inner

    def made(self) -> dict[str, str]:
        """Size and time of the take's own files; of takes.json, which is all takes', the take's entry."""
        folder = self._folder()
        files = {name: path for name, path in folder.files().items() if name != TAKES_FILE}
        return {"entry": digest(repr(folder.entry)), **_stamps(files)}

    def take(self, n_frames: int, exo_size: tuple[int, int], ego_size: tuple[int, int]) -> Take:
        """Refuse: there is neither depth nor an ego prior."""
        raise ValueError(
            f"{self.root}#{self.inner} is a take as Ego-Exo4D's release has it, without depth and ego prior, and EgoX "
            "is trained on both: make them with workflows/egox.json and name a folder in EgoX's layout, or train "
            "Exo2EgoSyn."
        )

    def views(self, clip: Clip, ego_view: EgoView) -> MultiViewTake:
        """Read a clip from up to four sides."""
        return read_ego_exo4d(self._folder(), clip, ego_view)

    def n_frames(self) -> int | None:
        """Frames of the task that videos and poses have."""
        return len(frames_of_task(self._folder()))

    def _folder(self) -> TakeFolder:
        # Links may lead anywhere: who trains names folders of the own machine, and big files lie on other disks.
        return open_take(Path(self.root.resolve().anchor), self.root, self.inner)


@dataclass(frozen=True)
class RoomTake(TakeSource):
    """A procedural room, rendered when it is asked for.

    Attributes:
        number: of the room.
    """

    number: int

    @property
    def name(self) -> str:
        """The room's number as a name."""
        return f"room_{self.number:06d}"

    def made(self) -> dict[str, str]:
        """Digest of what is in the room: a later version may furnish it in another way."""
        from ...takes.random_rooms.scene import random_scene

        return {"room": digest(repr(random_scene(self.number)))}

    def take(self, n_frames: int, exo_size: tuple[int, int], ego_size: tuple[int, int]) -> Take:
        """Render the room."""
        from ...takes.random_rooms.take import TakeSize, random_take

        if ego_size[0] != ego_size[1]:
            raise ValueError(f"The rooms' ego view is square, and [data] ego_size says {ego_size[0]} x {ego_size[1]}.")
        return random_take(self.number, TakeSize(n_frames, *exo_size, ego_size[0]))

    def views(self, clip: Clip, ego_view: EgoView) -> MultiViewTake:
        """Render the room from four sides."""
        from ...takes.random_rooms.views import random_views

        return random_views(self.number, clip, ego_view)

    def n_frames(self) -> int:
        """Frames of the movement."""
        return SOURCE_FRAMES


def digest(content: Any) -> str:
    """Return a short digest of a text, or of what JSON can hold."""
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digests(meta: Path) -> dict[str, str]:
    return {name_of(entry): digest(entry) for entry in entries_of(load_json(meta), meta)}


_entry_digests = Memo(_digests)  # read once, though a dataset has thousands of takes


def _stamps(files: Mapping[str, Path]) -> dict[str, str]:
    stats = {name: path.stat() for name, path in files.items()}
    return {f"file {name}": f"{stat.st_size} bytes of {stat.st_mtime_ns}" for name, stat in stats.items()}
