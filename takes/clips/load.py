"""A part of a clip, ready to be worked on, and what was done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from .color import toned_down
from .cut import Cut
from .framing import Framing, Wanted, frame_picture
from .orientation import UPRIGHT
from .picture_source import AnimationSource, PicturesSource
from .source import ClipSource, Header
from .timing import Choice, Part, choose, measured_rate
from .video_source import VideoSource

# Read as pictures, whatever else can: their orientation and durations are known best there.
_PICTURES = (".gif", ".apng", ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
# Decoders give something for these, but not what a clip's picture looks like.
_TILES = "is stored in tiles, of which only one could be read. Save it as JPEG or PNG."
_LIGHT = "holds light, not colors for a screen. Save it as PNG; depth belongs to the node Depth."
_REFUSED = {".heic": _TILES, ".heif": _TILES, ".exr": _LIGHT, ".hdr": _LIGHT, ".pfm": _LIGHT}
# Frames a second of pictures that state none, where none is wanted: what EgoX was trained on.
_PICTURE_RATE = 30.0


@dataclass(frozen=True)
class ClipFiles:
    """What a name means.

    Attributes:
        paths: a single file, or one a frame.
        is_sequence: whether it is one a frame.
    """

    paths: tuple[Path, ...]
    is_sequence: bool


@dataclass(frozen=True)
class LoadedClip:
    """A part of a clip.

    Attributes:
        images: [F, H, W, 3] float32 in [0, 1].
        fps: frames a second.
        audio: ComfyUI's AUDIO of the same part, or None.
        cut: what was done.
        report: the same in words.
        remarks: the part of it that a user should look at, as sentences.
    """

    images: Tensor
    fps: float
    audio: dict[str, object] | None
    cut: Cut
    report: str
    remarks: tuple[str, ...] = field(default=())


def open_clip(files: ClipFiles) -> ClipSource:
    """Open a clip; nothing but what its header needs is decoded.

    Raises:
        ValueError: if it cannot be read.
    """
    first = files.paths[0]
    if why := _REFUSED.get(first.suffix.lower()):
        raise ValueError(f"{first.name} {why}")
    if files.is_sequence:
        return PicturesSource(files.paths)
    return AnimationSource(first) if first.suffix.lower() in _PICTURES else VideoSource(first)


def load_clip(
    source: ClipSource, part: Part, wanted: Wanted, progress: Callable[[int, int], None] | None = None
) -> LoadedClip:
    """Read a part of a clip. Each frame is cut and scaled as soon as it is decoded, so that memory holds the result.

    Args:
        source: as `open_clip` returns it.
        part: which frames.
        wanted: which size.
        progress: called with (done, total) after each frame.

    Raises:
        ValueError: if the clip ends before the part, cannot be read, or would not fit into memory.
    """
    header = source.header
    times, rate = _times(header, part)
    choice = choose(times, rate, part)
    upright = header.orientation.size(header.width, header.height)
    framing = frame_picture(*upright, header.pixel_aspect, wanted)
    cut = Cut(
        frames=choice.frames,
        times=tuple(times[frame] for frame in choice.frames),
        n_source=header.count,
        fps=choice.fps,
        stored=(header.width, header.height),
        pixel_aspect=header.pixel_aspect,
        orientation=header.orientation,
        window=framing.window,
        size=framing.size,
        placed=framing.placed,
    )
    images = _images(source, cut, progress)
    audio = source.sound(part.start, len(choice.frames) / choice.fps)
    remarks = (*choice.remarks, *header.remarks, *source.remarks)
    return LoadedClip(images, choice.fps, audio, cut, _report(header, rate, choice, framing, cut, remarks), remarks)


def _times(header: Header, part: Part) -> tuple[tuple[float, ...], float]:
    """Return when frames are shown, and how many a second there are."""
    if header.times is None:
        rate = part.rate or _PICTURE_RATE
        return tuple(index / rate for index in range(header.count)), rate
    return header.times, measured_rate(header.times, header.rate)


def _images(source: ClipSource, cut: Cut, progress: Callable[[int, int], None] | None) -> Tensor:
    (width, height), frames, header = cut.size, cut.frames, source.header
    require_memory(
        3 * FLOAT * len(frames) * width * height,
        f"{len(frames)} frames at {width} x {height}",
        "Take fewer frames, or a smaller size.",
    )
    images = torch.empty(len(frames), height, width, 3)
    distinct = sorted(set(frames))
    places = _places(frames)
    for number, picture in zip(distinct, source.pictures(distinct)):
        cancel_point()
        shown = toned_down(cut.picture(picture), header.curve, header.wide)
        for place in places[number]:
            images[place] = shown
        if progress:
            progress(places[number][-1] + 1, len(frames))
    return images


def _places(frames: Sequence[int]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, frame in enumerate(frames):
        places.setdefault(frame, []).append(place)
    return places


def _report(header: Header, rate: float, choice: Choice, framing: Framing, cut: Cut, remarks: Sequence[str]) -> str:
    (width, height), (left, top, kept, rows) = cut.upright, framing.window
    frames = f"{len(choice.frames)} of {header.count} frames" if header.count > 1 else "1 frame"
    time = f"from {cut.times[0]:.2f} s to {cut.times[-1]:.2f} s" if header.count > 1 else "a still"
    paces = f"{rate:.5g} fps" if abs(rate / choice.fps - 1) < 1e-4 else f"{rate:.5g} fps brought to {choice.fps:.5g}"
    picture = [f"{header.kind}, {header.width} x {header.height}"]
    picture += [header.orientation.words()] if header.orientation != UPRIGHT else []
    picture += [f"its pixels {header.pixel_aspect:.4g} times as wide as high"] if header.pixel_aspect != 1 else []
    if (kept, rows) != (width, height):
        picture.append(f"cropped to {kept} x {rows} at ({left}, {top})")
    if framing.placed[2:] != framing.size:
        picture.append(f"scaled to {framing.placed[2]} x {framing.placed[3]} between bars")
    picture.append(f"handed out at {cut.size[0]} x {cut.size[1]}")
    picture += [f"{header.curve} toned down to an ordinary screen's range"] if header.curve else []
    lines = [f"{frames}, {time}, {paces}.", ", ".join(picture) + ".", *remarks]
    return "\n".join(lines)
