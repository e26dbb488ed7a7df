"""Metric depth and field of view by DepthPro (Bochkovskii et al., 2024), through transformers.

The in-the-wild workflow needs metres that no other pack has to deliver. Weights come from a local folder in Hugging
Face's layout (`apple/DepthPro-hf`); nothing is downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.memory import FLOAT, require_memory
from .pretrained import load_pretrained
from .pretrained_files import DEPTH_PRO

_MODELS = ("DepthProForDepthEstimation",)
# transformers 5 calls the torchvision processor DepthProImageProcessor; 4 has a slow one under that name.
_PROCESSORS = ("DepthProImageProcessorFast", "DepthProImageProcessor")

# The model's own bounds of inverse depth, in 1/metres: 10 km to 0.1 mm.
_INVERSE_RANGE = (1e-4, 1e4)


@dataclass(frozen=True, eq=False)
class DepthEstimate:
    """What DepthPro makes of a clip.

    Attributes:
        depth: z in metres [F, H, W] float32, on the CPU.
        fov_degrees: horizontal field of view of the clip: the one that was given, or the median over its frames.
        focal: focal length in pixels of the images as given, from `fov_degrees`.
        frame_fov_degrees: the model's own field of view for each frame [F]; empty if it has none.
    """

    depth: Tensor
    fov_degrees: float
    focal: float
    frame_fov_degrees: Tensor


def estimate_depth(
    images: Tensor,
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    fov_degrees: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DepthEstimate:
    """Estimate metric depth frame by frame.

    The network predicts inverse depth for a lens of unit focal length (relative to the width); the field of view
    turns it into metres. One clip has one lens, so the median of the frames' fields of view serves them all: their
    flicker would be a flicker of depth.

    Args:
        images: [F, H, W, 3] in [0, 1].
        folder: holds the files of `DEPTH_PRO`.
        device: where the network runs; it is loaded for this call and released after it.
        dtype: the network's type; the conversion to metres is float32.
        fov_degrees: horizontal field of view, where it is known. None: the network estimates it.
        progress: called with (frames done, all frames).

    Returns:
        Depth, field of view and focal length.

    Raises:
        ValueError: if files are missing, truncated or of another model, transformers lacks DepthPro, the images do not
            fit, or the network estimates no usable field of view.
    """
    if images.ndim != 4 or images.shape[-1] < 3 or 0 in images.shape:
        raise ValueError(f"Expected images [F, H, W, 3], got the shape {list(images.shape)}.")
    if fov_degrees is not None and not 0 < fov_degrees < 180:
        raise ValueError(f"A field of view lies between 0 and 180 degrees, got {fov_degrees}.")
    n_frames, height, width = images.shape[:3]
    require_memory(
        2 * FLOAT * n_frames * height * width,
        f"The depth of {n_frames} frames at {width} x {height}",
        "Give fewer frames, or smaller images.",
    )
    model, processor = load_pretrained(Path(folder), DEPTH_PRO, _MODELS, _PROCESSORS, device, dtype)
    canonical = torch.empty(n_frames, height, width)
    fields_of_view = []
    for frame in range(n_frames):
        inverse, fov = _predict(model, processor, images[frame, ..., :3], device, dtype)
        if not bool(inverse.isfinite().all()):
            raise ValueError(
                f"DepthPro's depth of frame {frame} holds NaN or infinity. Check that the images are between 0 and 1; "
                "if they are, download the weights again (apple/DepthPro-hf)."
            )
        canonical[frame] = inverse
        if fov is not None:
            fields_of_view.append(fov)
        if progress is not None:
            progress(frame + 1, n_frames)

    frame_fov = torch.tensor(fields_of_view)
    fov = _clip_fov(frame_fov) if fov_degrees is None else fov_degrees
    focal = 0.5 * width / math.tan(math.radians(fov) / 2)
    depth = canonical.mul_(width / focal).clamp_(*_INVERSE_RANGE).reciprocal_()
    return DepthEstimate(depth, fov, focal, frame_fov)


@torch.inference_mode()
def _predict(
    model: Any, processor: Any, image: Tensor, device: torch.device | str, dtype: torch.dtype
) -> tuple[Tensor, float | None]:
    """Return canonical inverse depth [H, W] on the CPU and the field of view in degrees of one image [H, W, 3]."""
    pixels = processor(image.movedim(-1, 0), do_rescale=False, return_tensors="pt")["pixel_values"]
    outputs = model(pixel_values=pixels.to(device, dtype))
    inverse = torch.nn.functional.interpolate(
        outputs.predicted_depth[:, None].float(), size=image.shape[:2], mode="bilinear"
    )
    fov = outputs.field_of_view
    return inverse[0, 0].cpu(), None if fov is None else float(fov[0])


def _clip_fov(frame_fov: Tensor) -> float:
    if not len(frame_fov):
        raise ValueError(
            "These DepthPro weights have no field-of-view head (use_fov_model is off in config.json), so depth has "
            "no metres. Give the field of view, or use the weights apple/DepthPro-hf."
        )
    fov = float(frame_fov.median())
    if not 1 < fov < 179:
        raise ValueError(
            f"DepthPro estimates a field of view of {fov:.4g} degrees, which no lens has. Check the weights, or give "
            "the field of view."
        )
    return fov
