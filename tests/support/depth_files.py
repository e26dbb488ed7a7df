"""Depth files as other programs write them; what is written here knows nothing of the code under test."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# OpenEXR's numbers: compression and lines of a block.
EXR_COMPRESSIONS = {"none": (0, 1), "zips": (2, 1), "zip": (3, 16)}
_EXR_TYPES = {"uint32": 0, "float16": 1, "float32": 2}


def write_exr(path: Path, channels: Mapping[str, np.ndarray], compression: str = "zip", flags: int = 0) -> Path:
    """Write an OpenEXR file by its specification.

    Args:
        path: the file.
        channels: [H, W] by name, of any of its three types.
        compression: of `EXR_COMPRESSIONS`.
        flags: further bits of the version, such as 0x1000 for several parts.
    """
    names = sorted(channels)
    height, width = channels[names[0]].shape
    number, step = EXR_COMPRESSIONS[compression]
    listed = b"".join(
        name.encode() + b"\0" + struct.pack("<iB3xii", _EXR_TYPES[str(channels[name].dtype)], 0, 1, 1) for name in names
    )
    box = struct.pack("<4i", 0, 0, width - 1, height - 1)
    head = struct.pack("<II", 20000630, 2 | flags)
    for name, kind, value in (
        ("channels", "chlist", listed + b"\0"),
        ("compression", "compression", bytes([number])),
        ("dataWindow", "box2i", box),
        ("displayWindow", "box2i", box),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<ff", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ):
        head += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    head += b"\0"
    blocks = []
    for top in range(0, height, step):
        rows = range(top, min(height, top + step))
        raw = b"".join(np.ascontiguousarray(channels[name][row]).tobytes() for row in rows for name in names)
        packed = _zipped(raw) if number else raw
        data = packed if len(packed) < len(raw) else raw
        blocks.append(struct.pack("<ii", top, len(data)) + data)
    places, place = [], len(head) + 8 * len(blocks)
    for block in blocks:
        places.append(place)
        place += len(block)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + struct.pack(f"<{len(places)}Q", *places) + b"".join(blocks))
    return path


def _zipped(raw: bytes) -> bytes:
    parts = np.frombuffer(raw, np.uint8)
    parts = np.concatenate([parts[::2], parts[1::2]]).astype(np.int16)
    parts[1:] = (parts[1:] - parts[:-1] + 128) % 256
    return zlib.compress(parts.astype(np.uint8).tobytes(), 1)


def write_deep_png(path: Path, values: np.ndarray) -> Path:
    """Write a PNG of 16 bit: [H, W] gray, or [H, W, 2, 3 or 4] with gray and alpha, colors, colors and alpha."""
    values = values if values.ndim == 3 else values[..., None]
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_gray_video(path: Path, maps: np.ndarray, codec: str, pixels: str, **options: str) -> Path:
    """Write maps [F, H, W] of whole numbers; their planes are written as they are, colors stay in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=Fraction(30))
        stream.height, stream.width, stream.pix_fmt = *maps.shape[1:], pixels
        stream.options = options
        for values in maps:
            frame = av.VideoFrame(stream.width, stream.height, pixels)
            bits = frame.format.components[0].bits
            for number, plane in enumerate(frame.planes):
                rows = np.full((plane.height, plane.line_size // (2 if bits > 8 else 1)), 2 ** (bits - 1))
                if number == 0:
                    rows[:, : plane.width] = values
                plane.update(rows.astype("<u2" if bits > 8 else np.uint8).tobytes())
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
