"""Clips as the world writes them, made by PyAV and Pillow: each frame shows its number and which way is up.

A picture is dark, with a bright corner of its own color each (red, green, blue, white, from the upper left clockwise:
red, green, white, blue) and its number in binary in cells across its middle. What reads them knows nothing of the code
under test.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

BITS = 9
CORNERS = {"red": (220, 30, 30), "green": (30, 220, 30), "white": (230, 230, 230), "blue": (30, 30, 220)}
# MP4's matrices for what a player does.
TURNS = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}
MIRROR = (-1, 0, 0, 1)


def picture(number: int, width: int = 144, height: int = 96) -> np.ndarray:
    """Return a marked picture [H, W, 3] uint8."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    down, across = height // 4, width // 4
    pixels[:down, :across] = CORNERS["red"]
    pixels[:down, -across:] = CORNERS["green"]
    pixels[-down:, -across:] = CORNERS["white"]
    pixels[-down:, :across] = CORNERS["blue"]
    for bit in range(BITS):
        left, right = round(bit * width / BITS), round((bit + 1) * width / BITS)
        pixels[round(0.35 * height) : round(0.65 * height), left:right] = 200 if number >> bit & 1 else 40
    return pixels


def number_of(image: Any) -> int:
    """Return the number that an upright picture [H, W, 3] in [0, 1] of any size shows."""
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    row = pixels[round(0.42 * height) : max(round(0.58 * height), round(0.42 * height) + 1)].mean(axis=(0, 2))
    cells = [
        row[round((bit + 0.3) * width / BITS) : round((bit + 0.7) * width / BITS) + 1].mean() for bit in range(BITS)
    ]
    return sum(1 << bit for bit, value in enumerate(cells) if value > 0.45)


def corners_of(image: Any) -> list[str]:
    """Return the colors of a picture's corners: upper left, upper right, lower right, lower left."""
    pixels = np.asarray(image) * 255
    height, width = pixels.shape[:2]
    y, x = max(1, height // 10), max(1, width // 10)
    found = [pixels[:y, :x], pixels[:y, -x:], pixels[-y:, -x:], pixels[-y:, :x]]
    return [
        min(CORNERS, key=lambda name: float(np.abs(part.mean(axis=(0, 1)) - CORNERS[name]).sum())) for part in found
    ]


def write_clip(
    path: Path,
    n_frames: int = 20,
    *,
    rate: Fraction | int = 30,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (144, 96),
    times: Sequence[float] | None = None,
    sound: str | None = None,
    aspect: Fraction | None = None,
    transfer: int | None = None,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write marked frames.

    Args:
        path: the file; its suffix chooses the container.
        n_frames: frames, numbered from 0.
        rate: frames a second.
        codec: of the pictures.
        pixels: FFmpeg's pixel format.
        size: width and height as stored.
        times: of the frames in seconds, for variable rates.
        sound: codec of a tone of one second on, one off.
        aspect: of a pixel.
        transfer: FFmpeg's number of the transfer curve.
        container: the muxer's options.
        options: the encoder's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.options = options
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if transfer:
            stream.codec_context.color_trc = transfer
            stream.codec_context.color_primaries = 9
            stream.codec_context.colorspace = 9
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        tone = file.add_stream(sound, rate=48000, layout="stereo") if sound else None
        for number in range(n_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        if tone is not None:
            write_tone(file, tone, n_frames / float(rate))
        file.mux(stream.encode(None))
    return path


def write_tone(file: Any, stream: Any, seconds: float) -> None:
    """Write a tone that sounds in every even second, left louder than right."""
    total = round(seconds * 48000)
    time = np.arange(total) / 48000
    wave = np.where(time % 2 < 1, np.sin(2 * np.pi * 440 * time), 0).astype(np.float32)
    samples = np.stack([0.8 * wave, 0.4 * wave])
    for start in range(0, total, 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, start : start + 1024]), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def turn(path: Path, matrix: Sequence[float]) -> Path:
    """Write a display matrix into an MP4's or MOV's first track, as phones do."""
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 4 + 40
    a, b, c, d = (round(value * 65536) for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def edit(path: Path, first: int, kept: int, rate: int = 30) -> Path:
    """Have an MP4's edit list show `kept` frames from number `first` on, of a constant rate without B-frames."""
    data = bytearray(path.read_bytes())
    scale = struct.unpack(">I", data[data.find(b"mvhd") + 16 : data.find(b"mvhd") + 20])[0]
    ticks = struct.unpack(">I", data[data.find(b"mdhd") + 16 : data.find(b"mdhd") + 20])[0]
    place = data.find(b"elst") + 12
    assert data.find(b"elst") > 0
    data[place : place + 8] = struct.pack(">Ii", int(kept / rate * scale), round(first / rate * ticks))
    path.write_bytes(data)
    return path


def write_pictures(folder: Path, n_frames: int, name: str = "frame_{:04d}.png", **save: Any) -> list[Path]:
    """Write marked pictures, one file a frame."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(number) for number in range(n_frames)]
    for number, path in enumerate(paths):
        Image.fromarray(picture(number)).save(path, **save)
    return paths


def write_animation(path: Path, n_frames: int, milliseconds: int | list[int], **save: Any) -> Path:
    """Write an animated picture."""
    frames = [Image.fromarray(picture(number)) for number in range(n_frames)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, **save)
    return path
