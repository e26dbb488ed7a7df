"""The part of a clip's sound that belongs to the frames taken."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory

_LAYOUTS = {1: "mono"}


def read_sound(
    path: str | os.PathLike[str], start: float, seconds: float
) -> tuple[dict[str, object] | None, str | None]:
    """Read a part of a file's first sound that can be decoded.

    Args:
        path: a file that FFmpeg opens.
        start: where the part begins, in seconds of the file's own clock.
        seconds: its length.

    Returns:
        ComfyUI's AUDIO, `{"waveform": [1, channels, samples] float32, "sample_rate"}`, silent where the file has no
        sound; and what a user should know. Either may be None.
    """
    import av

    try:
        with av.open(str(path)) as container:
            streams = container.streams.audio
            if not streams:
                return None, None
            usable = [stream for stream in streams if stream.codec_context is not None and stream.sample_rate]
            if not usable:
                return None, "Its sound is coded in a way that cannot be decoded here, and is left out."
            return _decode(container, usable[0], start, seconds)
    except (av.FFmpegError, ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        return None, f"Its sound cannot be decoded ({why}), and is left out: {Path(path).name}."


def _decode(
    container: object, stream: object, start: float, seconds: float
) -> tuple[dict[str, object] | None, str | None]:
    from av.audio.resampler import AudioResampler

    rate = stream.sample_rate
    total, channels = max(1, round(seconds * rate)), 1 if stream.channels == 1 else 2
    require_memory(FLOAT * channels * total, f"{seconds:.0f} s of sound", "Take fewer frames.")
    waveform = torch.zeros(1, channels, total)
    resampler = AudioResampler(format="fltp", layout=_LAYOUTS.get(channels, "stereo"), rate=rate)
    if start > 1:
        container.seek(int((start - 1) / stream.time_base), stream=stream)
    found = False
    for frame in container.decode(stream):
        cancel_point()
        if frame.pts is None:
            continue
        place = round((float(frame.pts * frame.time_base) - start) * rate)
        if place >= total:
            break
        for part in resampler.resample(frame):
            samples = torch.from_numpy(part.to_ndarray())
            first, last = max(0, place), min(total, place + samples.shape[1])
            if first < last:
                waveform[0, :, first:last] = samples[:, first - place : last - place]
                found = True
            place += samples.shape[1]
    if not found:
        return None, "The clip has no sound in this part."
    return {"waveform": waveform, "sample_rate": rate}, None
