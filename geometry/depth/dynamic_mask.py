"""Where something moves: a mask from a segmentation, or estimated from the clip itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ...common.cancel import MOST_NUMBERS, bounded_slices, cancel_point
from .depth import Depth, DepthMeaning

# The values that came closest to the released ego priors: a colour off its median over time by more than 25 of 255
# grey levels in any channel, or a depth off its median by more than 6 %; specks of 3x3 pixels go, borders grow by 5.
COLOR_THRESHOLD = 25 / 255
DEPTH_THRESHOLD = 0.06
EROSION = 3
DILATION = 11

# A frame's scale is the median over about this many of its pixels.
_SCALE_PIXELS = 20_000
# ... if at least this share of them is steady in colour and holds depth.
_MIN_STEADY = 0.02


def estimate_dynamic(
    images: Tensor,
    depth: Depth | None = None,
    *,
    color_threshold: float = COLOR_THRESHOLD,
    depth_threshold: float = DEPTH_THRESHOLD,
    erosion: int = EROSION,
    dilation: int = DILATION,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Estimate the moving pixels of a clip of a fixed camera from each pixel's median over time.

    It sees what changes, so it misses people who stand still; a segmentation (`mask_to_frames`) does better. Depth
    models flicker: each frame's depth is first divided by its median ratio to the median over time, so that a frame
    whose scale is off does not count as moving everywhere.

    Args:
        images: [F, H, W, 3] in [0, 1].
        depth: metric depth of the same frames and size; its invalid pixels say nothing. None: colour only.
        color_threshold: largest deviation of any channel from its median that still counts as static.
        depth_threshold: largest deviation of the depth from its median, relative to the median.
        erosion: side of the square that removes specks, odd, in pixels.
        dilation: side of the square that grows what is left, odd, in pixels.
        progress: called with (frames done, all frames).

    Returns:
        [F, H, W] bool on the CPU, True where something moves.

    Raises:
        ValueError: if shapes differ, the depth is not metric, or a side is not odd and positive.
    """
    if images.ndim != 4 or images.shape[-1] < 3:
        raise ValueError(f"Expected images [F, H, W, 3], got the shape {list(images.shape)}.")
    for name, side in (("erosion", erosion), ("dilation", dilation)):
        if side < 1 or side % 2 == 0:
            raise ValueError(f"The {name} takes an odd number of pixels, got {side}. Choose one more or less.")
    metres = None if depth is None else _metres_of(depth, images)
    changed = _off_median(images[..., :3], color_threshold)
    if metres is not None:
        _add_depth_off_median(changed, metres, _relative_scales(metres, changed), depth_threshold)

    n_frames = len(changed)
    n_rows, width = changed.shape[1:]
    halo = erosion // 2 + dilation // 2  # what lies further off changes nothing
    for frame in range(n_frames):
        found = torch.empty(changed.shape[1:], dtype=torch.bool)
        for rows in bounded_slices(n_rows, width, most=MOST_NUMBERS // 4):
            top, bottom = max(0, rows.start - halo), min(n_rows, rows.stop + halo)
            part = _opened_and_grown(changed[frame : frame + 1, top:bottom], erosion, dilation)
            found[rows] = part[0, rows.start - top : rows.stop - top]
        changed[frame] = found
        if progress is not None:
            progress(frame + 1, n_frames)
    return changed


def mask_to_frames(mask: Tensor, n_frames: int, height: int, width: int, threshold: float = 0.5) -> Tensor:
    """Bring a ComfyUI MASK to one bool mask a frame.

    Args:
        mask: [F, H, W] of any size, [1, H, W] or [H, W] (serves all frames), in [0, 1] or bool.
        n_frames: frames of the clip.
        height: height of the result in pixels.
        width: width of the result in pixels.
        threshold: values above it count.

    Returns:
        [n_frames, height, width] bool on the CPU. A pixel takes the value under its centre.

    Raises:
        ValueError: if the mask has another number of frames, or is no mask.
    """
    shape = list(mask.shape)
    mask = mask.to("cpu")
    if mask.ndim == 4 and mask.shape[-1] == 1:
        mask = mask[..., 0]
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or 0 in mask.shape:
        raise ValueError(f"Expected a mask [F, H, W], got the shape {shape}. Convert an image to a mask first.")
    if mask.shape[0] not in (1, n_frames):
        raise ValueError(
            f"The mask has {mask.shape[0]} frames and the clip {n_frames}. Segment the same frames, or give one mask "
            "for all of them."
        )
    chosen = mask if mask.dtype is torch.bool else mask > threshold
    if chosen.shape[1:] != (height, width):
        grown = torch.empty(len(chosen), height, width, dtype=torch.bool)
        for frame, one in enumerate(chosen):
            cancel_point()
            resized = torch.nn.functional.interpolate(one[None, None].float(), (height, width), mode="nearest-exact")
            grown[frame] = resized[0, 0] > 0.5
        chosen = grown
    return chosen.expand(n_frames, height, width)


def share_of(mask: Tensor) -> float:
    """Return how much of a mask of bool is True, 0 to 100, without a copy of it."""
    return 100 * int(torch.count_nonzero(mask)) / max(1, mask.numel())


def _metres_of(depth: Depth, images: Tensor) -> Tensor:
    if depth.meaning is not DepthMeaning.METRIC:
        raise ValueError("Motion shows in metric depth only: align the depth first, or leave it out (color only).")
    if depth.values.shape != images.shape[:3]:
        raise ValueError(
            f"The depth is {list(depth.values.shape)} and the images are {list(images.shape[:3])} (frames, height, "
            "width). Resize and cut them alike."
        )
    return depth.metric()


def _off_median(images: Tensor, threshold: float) -> Tensor:
    """Return where any channel leaves its median over time [F, H, W], on the CPU."""
    changed = torch.empty(images.shape[:3], dtype=torch.bool)
    for part in _pieces(images):
        # Contiguous: along a repeated frame (stride 0) torch.median reads memory that is not the tensor's.
        values = images[part].to("cpu", torch.float32).contiguous()
        deviation = (values - values.median(dim=0).values).abs_()
        changed[part] = (deviation > threshold).any(dim=-1)
    return changed


def _pieces(clip: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a clip [F, H, W, ...] along rows and columns: a pixel's median takes all frames at once."""
    n_frames, height, width = clip.shape[:3]
    each = n_frames * math.prod(clip.shape[3:])
    for columns in bounded_slices(width, each):
        for rows in bounded_slices(height, each * (columns.stop - columns.start)):
            yield slice(None), rows, columns


def _relative_scales(metres: Tensor, changed: Tensor) -> Tensor:
    """Return each frame's median ratio to the median over time [F].

    Only pixels that are not `changed` [F, H, W] in colour count: somebody who fills most of a frame must not set its
    scale. A frame with too few of them keeps its scale.
    """
    step = max(1, int((metres.shape[1] * metres.shape[2] / _SCALE_PIXELS) ** 0.5))
    sample, moves = (frames[:, ::step, ::step].flatten(1).contiguous() for frames in (metres, changed))  # [F, S]
    sample = sample.masked_fill(sample <= 0, torch.nan)
    ratios = (sample / sample.nanmedian(dim=0).values).masked_fill(moves, torch.nan)
    scales = ratios.nanmedian(dim=1).values
    enough = torch.isfinite(ratios).float().mean(dim=1) >= _MIN_STEADY
    return torch.where(enough, scales, 1.0)


def _add_depth_off_median(changed: Tensor, metres: Tensor, scales: Tensor, threshold: float) -> None:
    """Mark where a valid depth, divided by its frame's scale [F], leaves its pixel's median over time [F, H, W]."""
    for part in _pieces(metres):
        values = metres[part] / scales[:, None, None]
        values = values.masked_fill_(values <= 0, torch.nan)
        median = values.nanmedian(dim=0).values
        changed[part] |= (values - median).abs_() > threshold * median  # False at NaN


def _opened_and_grown(mask: Tensor, erosion: int, dilation: int) -> Tensor:
    """Erode, then dilate [F, H, W] bool by squares; the picture's border counts as neither."""
    import kornia.morphology as morphology

    # A square is a row after a column, at 2n instead of n^2 values a pixel (kornia unfolds them all).
    images = mask[:, None].float()
    for operation, side in ((morphology.erosion, erosion), (morphology.dilation, dilation)):
        for kernel in (images.new_ones(1, side), images.new_ones(side, 1)):
            images = operation(images, kernel)
    return images[:, 0] > 0.5
