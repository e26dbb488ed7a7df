"""OpenEXR: the channel that holds depth, whatever it is called.

PyAV (FFmpeg) decodes every usual compression, but knows channels only by the names of colors. So the header is read
here, and handed to FFmpeg with other names: the wanted channel as `Y`, which is brightness, and all others as nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...common.messages import few
from ..clips.picture_source import missing_numbers
from ..files import read_whole
from .source import check_size

_MAGIC = 20000630
_TILED, _DEEP, _MULTIPART = 0x200, 0x800, 0x1000
# Rows that are packed together, by the number of the compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA and
# DWAB.
_ROWS = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)
_UINT, _HALF, _FLOAT = range(3)
_LARGEST = 2**31
# What 3D programs write where nothing is: Blender 1e10, and in half precision its largest number.
_NOTHING = {_HALF: 65504.0, _FLOAT: 1e9}
_AGAIN = "Save the depth alone as OpenEXR with one channel Z or Y, as TIFF, or as .npy."


@dataclass(frozen=True)
class Header:
    """What an OpenEXR file says of itself.

    Attributes:
        channels: place of the name in the file and pixel type by name.
        width, height: of the whole picture, in pixels.
    """

    channels: dict[str, tuple[int, int]]
    width: int
    height: int


class ExrFiles:
    """One OpenEXR file a map; see `DepthSource`.

    Args:
        paths: the files in order; at least one.
    """

    white = 0.0

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        content = read_whole(paths[0], _LARGEST)
        header = read_header(content, paths[0].name)
        channel = depth_channel(list(header.channels), paths[0].name)
        self.count, self.size = len(paths), (header.width, header.height)
        self.kind = f"OpenEXR, channel {channel}"
        self.remarks: list[str] = missing_numbers(paths)
        self._channel = channel
        if channel.endswith("R") and (green := f"{channel[:-1]}G") in header.channels:
            red, other = (_decoded(content, header, name, paths[0].name) for name in (channel, green))
            if not torch.equal(red, other):
                self.remarks.append(
                    f"{paths[0].name} is colored: its channels {channel} and {green} differ, and {channel} was taken. "
                    "Give depth as one channel."
                )

    def maps(self, frames: Sequence[int]) -> Iterator[Tensor]:
        """See `DepthSource`."""
        for index in frames:
            cancel_point()
            path = self._paths[index]
            content = read_whole(path, _LARGEST)
            header = read_header(content, path.name)
            check_size(path.name, (header.width, header.height), self.size)
            if self._channel not in header.channels:
                raise ValueError(f"{path.name} has no channel {self._channel}, as the first map has. {_AGAIN}")
            yield _decoded(content, header, self._channel, path.name)


def read_header(content: bytes, name: str) -> Header:
    """Read the header of an OpenEXR file.

    Raises:
        ValueError: if it is none, truncated, or of a kind that holds no plain pictures.
    """
    try:
        magic, version = struct.unpack_from("<II", content)
        if magic != _MAGIC:
            raise ValueError(f"{name} is not an OpenEXR file. {_AGAIN}")
        if version & (_DEEP | _MULTIPART):
            what = "deep pixels" if version & _DEEP else "several parts"
            raise ValueError(f"{name} is an OpenEXR file of {what}, which is not read. {_AGAIN}")
        attributes = _attributes(content)
        (left, top, right, bottom) = struct.unpack_from("<4i", content, attributes["displayWindow"])
        channels = _channels(content, attributes["channels"])
        _check_whole(content, attributes, bool(version & _TILED))
    except (struct.error, LookupError, UnicodeError) as error:
        raise ValueError(f"{name} is a truncated or corrupt OpenEXR file. Copy it again.") from error
    width, height = right - left + 1, bottom - top + 1
    if width < 1 or height < 1 or not channels:
        raise ValueError(f"{name} is an OpenEXR file without a picture. {_AGAIN}")
    require_memory(4 * FLOAT * width * height, f"{name} at {width} x {height}", "Check the file, or scale it down.")
    return Header(channels, width, height)


def depth_channel(names: Sequence[str], file: str) -> str:
    """Choose the channel that holds depth: one called Z or depth, else the only one, brightness, or gray in R, G and B.

    Raises:
        ValueError: if that is not clear.
    """
    parts = {name: name.lower().split(".") for name in names}
    called = [name for name, part in parts.items() if part[-1] in ("z", "depth")]
    # Blender 4 calls its depth ViewLayer.Depth.V; others have a layer depth with R, G and B.
    layer = [name for name, part in parts.items() if len(part) > 1 and "depth" in part[-2] and part[-1] != "a"]
    layer = [name for name in layer if parts[name][-1] == "r"] or layer
    plain = [name for name, part in parts.items() if part[-1] != "a"]
    bright = [name for name in ("Y", "R") if name in names]
    for found in (called, layer, plain, bright[:1]):
        if len(found) == 1:
            return found[0]
        if found in (called, layer) and len(found) > 1:
            break
    raise ValueError(f"{file} has the channels {few(sorted(names), 12)}: which is the depth cannot be told. {_AGAIN}")


def _attributes(content: bytes) -> dict[str, int]:
    """Return where the value of each attribute begins, and where the header ends, under the empty name."""
    found, place = {}, 8
    while True:
        name, place = _text(content, place)
        if not name:
            found[""] = place
            return found
        _, place = _text(content, place)
        (size,) = struct.unpack_from("<i", content, place)
        if size < 0:
            raise LookupError(name)
        found[name] = place + 4
        place += 4 + size


def _check_whole(content: bytes, attributes: dict[str, int], is_tiled: bool) -> None:
    """Check that all blocks of pixels lie within the file: FFmpeg would give black for those that do not.

    Raises:
        LookupError, struct.error: if one does not.
    """
    left, top, right, bottom = struct.unpack_from("<4i", content, attributes["dataWindow"])
    if is_tiled:
        across, down = struct.unpack_from("<2I", content, attributes["tiles"])
        count, head = -(-(right - left + 1) // max(1, across)) * -(-(bottom - top + 1) // max(1, down)), 20
    else:
        rows = _ROWS[content[attributes["compression"]]]
        count, head = -(-(bottom - top + 1) // rows), 8
    if count > len(content) // 8:
        raise LookupError("blocks")
    for block in struct.unpack_from(f"<{count}Q", content, attributes[""]):
        if block > len(content):
            raise LookupError("block")
        (size,) = struct.unpack_from("<i", content, block + head - 4)
        if block < attributes[""] or size < 0 or block + head + size > len(content):
            raise LookupError("block")


def _channels(content: bytes, place: int) -> dict[str, tuple[int, int]]:
    channels = {}
    while True:
        start = place
        name, place = _text(content, place)
        if not name:
            return channels
        (kind,) = struct.unpack_from("<i", content, place)
        channels[name] = (start, kind)
        place += 16


def _text(content: bytes, place: int) -> tuple[str, int]:
    end = content.find(b"\0", place, place + 256)
    if end < 0:
        raise LookupError(place)
    return content[place:end].decode("latin-1"), end + 1


def _decoded(content: bytes, header: Header, channel: str, name: str) -> Tensor:
    """Return one channel [H, W] float32; infinity where 3D programs say that nothing is."""
    import av
    import numpy as np

    kind = header.channels[channel][1]
    if kind not in _NOTHING:
        raise ValueError(f"The channel {channel} of {name} holds whole numbers of 32 bit, which are not read. {_AGAIN}")
    renamed = bytearray(content)
    for other, (place, _) in header.channels.items():
        new = "x" * (len(other) - 1) + "Y" if other == channel else "q" * len(other)
        renamed[place : place + len(other)] = new.encode()
    context = av.CodecContext.create("exr", "r")
    context.options = {"layer": "x" * (len(channel) - 1)}
    try:
        frames = context.decode(av.Packet(bytes(renamed))) or context.decode(None)
    except (av.FFmpegError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{name} cannot be decoded ({why}). Copy it again, or save it with ZIP compression."
        ) from error
    if not frames or (frames[0].width, frames[0].height) != (header.width, header.height):
        raise ValueError(f"{name} is truncated or corrupt. Copy it again.")
    (plane,) = frames[0].planes[:1]
    # Older versions of FFmpeg widen half precision by themselves.
    dtype = np.dtype("<f2" if "f16" in frames[0].format.name else "<f4")
    rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)[: header.height, : header.width]
    values = torch.from_numpy(rows.astype(np.float32))
    return values.masked_fill_(values >= _NOTHING[kind], torch.inf)
