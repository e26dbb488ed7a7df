"""A take's contact sheet: its views at a few moments, with the place of the ego camera in the exo images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...common.whole_file import whole_file
from ...geometry.cameras.camera import Camera
from ...nodes.drawings.contact_sheet import contact_sheet

_ROW_HEIGHT = 168  # pixels
_RING = (0.93, 0.16, 0.22)
_RADIUS, _WIDTH = 0.035, 0.008  # of the ring, as shares of the image's width


def moments_of(n_frames: int, times: int = 5) -> list[int]:
    """Return a few frame numbers from the first to the last."""
    return torch.linspace(0, n_frames - 1, times).round().long().unique().tolist()


def write_sheet(path: Path, rows: Sequence[tuple[str, Tensor | None]], moments: Sequence[int]) -> None:
    """Write rows (label, frames [F, H, W, 3]) at some moments as a PNG, whole or not at all."""
    from PIL import Image

    chosen = [(label, _at(frames, moments)) for label, frames in rows]
    sheet = contact_sheet(chosen, len(moments), _ROW_HEIGHT, moments)[0]
    with whole_file(path) as unfinished:
        Image.fromarray((255 * sheet).round().to(torch.uint8).numpy()).save(unfinished)


def marked(frames: Tensor, exo: Camera, ego: Camera, moments: Sequence[int]) -> Tensor:
    """Return exo frames at some moments [M, H, W, 3] with a ring around the place of the ego camera."""
    images = frames[list(moments)].clone()
    height, width = images.shape[1:3]
    down, across = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    for image, frame in zip(images, moments):
        center = ego.centers[0 if ego.is_fixed else frame]
        pixel, _, valid = exo.project(center[None], frame)
        if valid[0]:
            # The images may be squeezed, other than the camera's.
            x, y = (pixel[0] * pixel.new_tensor([width / exo.width, height / exo.height])).tolist()
            off = ((across - x) ** 2 + (down - y) ** 2).sqrt() - _RADIUS * width
            image[off.abs() < _WIDTH * width / 2] = torch.tensor(_RING)
    return images


def _at(frames: Tensor | None, moments: Sequence[int]) -> Tensor | None:
    return frames if frames is None or len(frames) == len(moments) else frames[list(moments)]
