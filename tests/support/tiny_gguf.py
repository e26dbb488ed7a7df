"""Write small GGUF files (version 3) as ComfyUI-GGUF's converter lays them out."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import torch

ALIGNMENT = 32
F32, F16 = 0, 1
_TEXT, _ARRAY, _INT32 = 8, 9, 5


def write_gguf(path: Path, tensors: Mapping[str, torch.Tensor], architecture: str = "wan") -> Path:
    """Write tensors in half precision; those of more than four axes flat, with their shape as a pair of its own."""
    pairs = [_text("general.architecture") + struct.pack("<I", _TEXT) + _text(architecture)]
    infos, data = [], b""
    for name, tensor in tensors.items():
        shape = list(tensor.shape)
        if len(shape) > 4:
            values = b"".join(struct.pack("<i", size) for size in shape)
            pairs.append(
                _text(f"comfy.gguf.orig_shape.{name}") + struct.pack("<IIQ", _ARRAY, _INT32, len(shape)) + values
            )
            shape = [math.prod(shape)]
        axes = b"".join(struct.pack("<Q", size) for size in reversed(shape))
        infos.append(_text(name) + struct.pack("<I", len(shape)) + axes + struct.pack("<IQ", F16, len(data)))
        data += _padded(tensor.half().numpy().tobytes())
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(pairs)) + b"".join(pairs) + b"".join(infos)
    path.write_bytes(_padded(head) + data)
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
