"""What nodes show in the editor: a small moving picture, a still, a line of text."""

from __future__ import annotations

import uuid
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ...common.cancel import cancel_point
from ...geometry.depth.depth import Depth, DepthMeaning

# Pixels: the picture on a node is small, and 49 full frames would be slow to write. A strip is no higher than this.
_PREVIEW_WIDTH, _PREVIEW_HEIGHT = 448, 1792
_PREVIEW_FRAMES = 49
_MOST_STILL_PIXELS = 2**25  # of a still: beyond any sheet; a PNG of more takes seconds to write


def video_preview(frames: Tensor, fps: float = 20.0) -> dict[str, Any]:
    """Return the ui entry of a moving preview.

    Args:
        frames: [F, H, W, 3] in [0, 1].
        fps: frames a second of the clip; thinned clips keep their pace.
    """
    step = _step(len(frames))
    thinned = _shrunk(frames[::step])
    if len(thinned) == 1:
        return image_preview(thinned)
    saved = ui.ImageSaveHelper.save_animated_webp(
        thinned, _prefix(), io.FolderType.temp, cls=None, fps=fps / step, lossless=False, quality=80, method=0
    )
    return {"images": [saved], "animated": (True,)}


def image_preview(images: Tensor) -> dict[str, Any]:
    """Return the ui entry of still previews [N, H, W, 3] in [0, 1]."""
    pixels = images.shape[1] * images.shape[2]
    if pixels > _MOST_STILL_PIXELS:
        scale = (_MOST_STILL_PIXELS / pixels) ** 0.5
        images = _shrunk(images, round(images.shape[2] * scale), round(images.shape[1] * scale))
    saved = ui.ImageSaveHelper.save_images(images, _prefix(), io.FolderType.temp, cls=None, compress_level=1)
    return {"images": saved, "animated": (False,)}


def depth_preview(depth: Depth) -> dict[str, Any]:
    """Return the ui entry of a moving preview of depth maps: thinned and made small before they are painted."""
    size = _fitted(depth.width, depth.height)[::-1]
    values = depth.values[:: _step(depth.n_frames), None]
    small = torch.nn.functional.interpolate(values, size, mode="nearest-exact")[:, 0]
    if depth.meaning is DepthMeaning.INVERSE:
        return video_preview(depth_picture(small, small.isfinite()))
    return video_preview(depth_picture(small.reciprocal(), small > 0))


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
    ends = sample.new_tensor([0.02, 0.98])
    low, high = torch.quantile(sample, ends) if len(sample) else ends  # maybe none in the frames that are shown
    grey = ((values - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
    picture = grey[..., None].expand(*grey.shape, 3)
    return torch.where(valid[..., None], picture, picture.new_tensor([0.1, 0.15, 0.4]))


def _step(n_frames: int) -> int:
    """Return every how many frames a preview shows one."""
    return max(1, -(-n_frames // _PREVIEW_FRAMES))


def _fitted(width: int, height: int) -> tuple[int, int]:
    """Return width and height of a preview of images of that size."""
    scale = min(1.0, _PREVIEW_WIDTH / width, _PREVIEW_HEIGHT / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(frames: Tensor, width: int = 0, height: int = 0) -> Tensor:
    """Scale frames down, one at a time, to a given size or that of a preview."""
    size = (width, height) if width and height else _fitted(frames.shape[2], frames.shape[1])
    if size == (frames.shape[2], frames.shape[1]):
        return frames
    small = []
    for frame in frames:
        cancel_point()
        small.append(torch.nn.functional.interpolate(frame.movedim(-1, 0)[None], size[::-1], mode="area")[0])
    return torch.stack(small).movedim(1, -1)


def _prefix() -> str:
    return f"exo2ego_{uuid.uuid4().hex[:8]}"
