"""What nodes show in the editor: a small moving picture, a still, a line of text."""

from __future__ import annotations

import uuid
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

_PREVIEW_WIDTH = 448  # pixels: the picture on a node is small, and 49 full frames would be slow to write
_PREVIEW_FRAMES = 49


def video_preview(frames: Tensor, fps: float = 20.0) -> dict[str, Any]:
    """Return the ui entry of a moving preview.

    Args:
        frames: [F, H, W, 3] in [0, 1].
        fps: frames a second of the clip; thinned clips keep their pace.
    """
    step = max(1, -(-len(frames) // _PREVIEW_FRAMES))
    thinned = _shrunk(frames[::step])
    if len(thinned) == 1:
        return image_preview(thinned)
    saved = ui.ImageSaveHelper.save_animated_webp(
        thinned, _prefix(), io.FolderType.temp, cls=None, fps=fps / step, lossless=False, quality=80, method=0
    )
    return {"images": [saved], "animated": (True,)}


def image_preview(images: Tensor) -> dict[str, Any]:
    """Return the ui entry of still previews [N, H, W, 3] in [0, 1]."""
    saved = ui.ImageSaveHelper.save_images(images, _prefix(), io.FolderType.temp, cls=None, compress_level=1)
    return {"images": saved, "animated": (False,)}


def depth_picture(values: Tensor, valid: Tensor) -> Tensor:
    """Paint depth maps for the eye: near bright, far dark, invalid blue.

    Args:
        values: inverse depth [F, H, W], any scale.
        valid: bool [F, H, W].

    Returns:
        [F, H, W, 3] in [0, 1]; one scale for all frames, so that flicker shows.
    """
    known = values[valid]
    sample = known[:: max(1, known.numel() // 100_000)]
    low, high = torch.quantile(sample, sample.new_tensor([0.02, 0.98]))
    grey = ((values - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
    picture = grey[..., None].expand(*grey.shape, 3)
    return torch.where(valid[..., None], picture, picture.new_tensor([0.1, 0.15, 0.4]))


def _shrunk(frames: Tensor) -> Tensor:
    height, width = frames.shape[1:3]
    if width <= _PREVIEW_WIDTH:
        return frames
    size = (round(height * _PREVIEW_WIDTH / width), _PREVIEW_WIDTH)
    channels_first = frames.movedim(-1, 1)
    return torch.nn.functional.interpolate(channels_first, size, mode="area").movedim(1, -1)


def _prefix() -> str:
    return f"exo2ego_{uuid.uuid4().hex[:8]}"
