"""Images for the eye: where a video is wrong, and strips of a few moments."""

from __future__ import annotations

import torch
from torch import Tensor


def error_map(pred: Tensor, truth: Tensor) -> Tensor:
    """Return where a clip is wrong: the mean absolute difference of the channels, as heat.

    Args:
        pred: [F, H, W, 3] in [0, 1].
        truth: of the same shape.

    Returns:
        [F, H, W, 3] in [0, 1]: black where equal, then red, yellow, and white where opposite.
    """
    error = (pred[..., :3] - truth[..., :3]).abs().mean(dim=-1, keepdim=True)  # [F, H, W, 1]
    return (3 * error - torch.arange(3, dtype=error.dtype)).clamp(0, 1)


def moments(n_frames: int, times: int) -> list[int]:
    """Return frame numbers from the first to the last, each once."""
    return sorted({round(place * (n_frames - 1) / max(1, times - 1)) for place in range(min(times, n_frames))})


def strip(frames: Tensor, chosen: list[int], height: int) -> Tensor:
    """Return chosen frames side by side, scaled to a height.

    Args:
        frames: [F, H, W, 3] in [0, 1].
        chosen: their numbers.
        height: in pixels.

    Returns:
        [height, W, 3] uint8.
    """
    width = max(1, round(frames.shape[2] * height / frames.shape[1]))
    small = torch.nn.functional.interpolate(
        frames[chosen, ..., :3].movedim(-1, 1), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return torch.cat(list(small.movedim(1, -1)), dim=1).clamp(0, 1).mul(255).round().byte()
