"""Depth of a file as the pack's own: the wanted maps, in metres, through the cut of the clip they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...geometry.depth.declared import Declared
from ...geometry.depth.depth import Depth
from ..clips.cut import Cut
from ..listing import ARRAY_SUFFIXES, is_video
from .arrays import DepthArrays
from .exr import ExrFiles
from .pictures import DepthPictures
from .source import DepthSource
from .video import GrayVideo


@dataclass(frozen=True)
class MapsPart:
    """Which maps of a file count.

    Attributes:
        start: number of the first, from 0.
        frames: how many; 0 for all that follow.
    """

    start: int = 0
    frames: int = 0


@dataclass(frozen=True)
class ReadDepth:
    """Depth of a file.

    Attributes:
        depth: the maps.
        report: what was read, as a sentence.
    """

    depth: Depth
    report: str


def open_depth(paths: tuple[Path, ...]) -> DepthSource:
    """Open files with depth, one or one a map; nothing but what their first map needs is decoded.

    Raises:
        ValueError: if they cannot be read.
    """
    suffix = paths[0].suffix.lower()
    if suffix == ".exr":
        return ExrFiles(paths)
    if suffix in ARRAY_SUFFIXES or _is_array(paths[0]):
        return DepthArrays(paths)
    return GrayVideo(paths[0]) if len(paths) == 1 and is_video(paths[0].name) else DepthPictures(paths)


def read_depth(
    source: DepthSource,
    declared: Declared,
    part: MapsPart | None = None,
    cut: Cut | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReadDepth:
    """Read depth. Each map is cut as soon as it is decoded, so that memory holds the result alone.

    Args:
        source: as `open_depth` returns it.
        declared: what its numbers hold.
        part: which maps; all by default.
        cut: what was done to the clip to which these maps belong, one for each of its frames.
        progress: called with (done, total) after each map.

    Raises:
        ValueError: if there are no such maps, one cannot be read, or they would not fit into memory.
    """
    numbers = _numbers(source, part or MapsPart())
    wanted = numbers if cut is None else cut.in_time(numbers, "depth maps")
    width, height = source.size if cut is None else cut.size
    require_memory(
        2 * FLOAT * len(wanted) * width * height,
        f"Depth of {len(wanted)} frames at {width} x {height}",
        "Take fewer frames, or connect the cut of Load Clip, which makes them smaller.",
    )
    scale = declared.scale(source.white)
    values = torch.empty(len(wanted), height, width)
    places: dict[int, list[int]] = {}
    for place, number in enumerate(wanted):
        places.setdefault(number, []).append(place)
    distinct = sorted(places)
    for done, (number, stored) in enumerate(zip(distinct, source.maps(distinct)), start=1):
        cancel_point()
        stored = stored * scale if scale != 1 else stored
        values[places[number]] = stored if cut is None else cut.map(stored, torch.nan)
        if progress:
            progress(done, len(distinct))
    depth = declared.of_values(values)
    of = f" of {source.count}" if source.count != len(wanted) else ""
    report = f"Read {len(wanted)}{of} maps: {source.kind}, {source.size[0]} x {source.size[1]}."
    return ReadDepth(replace(depth, findings=(*source.remarks, *depth.findings)), report)


def _numbers(source: DepthSource, part: MapsPart) -> list[int]:
    end = part.start + part.frames if part.frames else source.count
    if part.start >= source.count or end > source.count:
        wanted = f"{part.start} to {end - 1}" if part.frames else f"from {part.start} on"
        raise ValueError(
            f"There are {source.count} depth maps, counted from 0, so there are none {wanted}. Lower start or frames."
        )
    return list(range(part.start, end))


def _is_array(path: Path) -> bool:
    """Whether a file of any name is NumPy's: those may be named otherwise."""
    try:
        with open(path, "rb") as file:
            return file.read(6) == b"\x93NUMPY"
    except OSError:
        return False  # what reads it says why
