"""Clips below one folder, such as ComfyUI's input folder, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from ...common.file_inputs import FileKind
from ...common.paths import entries
from ..camera_formats.read import RELEASE_EXO_SIZE
from ..example.room import ExampleRoom
from ..files import check_inside, resolve_inside
from ..library import EXAMPLE_FRAMES, NamedInputs
from ..listing import is_picture, is_video, names_inside, pictures_of
from .framing import Wanted
from .load import ClipFiles, LoadedClip, load_clip, open_clip
from .source import Header
from .timing import Part

_EXAMPLE_RATE = 16.0  # as the example take has it


def _list_clips(root: Path) -> list[str]:
    """List videos, folders of pictures, and pictures."""
    files, folders = names_inside(root)
    pictures = [name for name in files if is_picture(name.rpartition("/")[2])]
    with_pictures = {name.rpartition("/")[0] for name in pictures} - {""}
    # Of folders in folders the files are not listed, but a shot may be one of them.
    with_pictures |= {
        name for name in folders if "/" in name and any(is_picture(path.name) for path in entries(root / name))
    }
    return [*(name for name in files if is_video(name.rpartition("/")[2])), *sorted(with_pictures), *pictures]


def _find_clip(root: Path, name: str) -> ClipFiles:
    pictures = pictures_of(root, name, lambda text: resolve_inside(root, text))
    if pictures is None:
        return ClipFiles((resolve_inside(root, name),), is_sequence=False)
    check_inside(root, pictures)
    return ClipFiles(tuple(pictures), is_sequence=True)


def _load(files: ClipFiles, *, part: Part, wanted: Wanted, progress: Callable[[int, int], None] | None) -> LoadedClip:
    return load_clip(open_clip(files), part, wanted, progress)


class _ExampleSource:
    """The example room's exo clip; see `ClipSource`."""

    def __init__(self) -> None:
        times = tuple(index / _EXAMPLE_RATE for index in range(EXAMPLE_FRAMES))
        self.header = Header(times, _EXAMPLE_RATE, *RELEASE_EXO_SIZE, EXAMPLE_FRAMES, "the built-in example")
        self.remarks: list[str] = []

    def pictures(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `ClipSource`."""
        first, last, steps = frames[0], frames[-1], EXAMPLE_FRAMES - 1
        room = ExampleRoom(last - first + 1, first / steps, last / steps)
        pictures = room.color(room.exo_camera(*RELEASE_EXO_SIZE))
        yield from (pictures[frame - first] for frame in frames)

    def sound(self, start: float, seconds: float) -> None:
        """See `ClipSource`: there is none."""


def _example(*, part: Part, wanted: Wanted, progress: Callable[[int, int], None] | None) -> LoadedClip:
    return load_clip(_ExampleSource(), part, wanted, progress)


# Settings: `part`, which frames; `wanted`, which size; and `progress`, called with (done, total) after each frame.
CLIPS: NamedInputs[ClipFiles, LoadedClip] = NamedInputs(
    FileKind.CLIP, _list_clips, _find_clip, lambda files: list(files.paths), _load, _example
)
