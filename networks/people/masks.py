"""One person's mask through a clip, from a box in one frame, by SAM 2's video model (Ravi et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ..pretrained import as_bytes, load_pretrained
from ..pretrained_files import MASKS

_COLOURS = 3
_PERSON = 1  # the number of the only one whom the model follows


@torch.inference_mode()
def follow_mask(
    images: Tensor,
    frame: int,
    box: Tensor,
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    step: Callable[[], None] = cancel_point,
) -> Tensor:
    """Follow what lies in a box of one frame, onward and backward.

    Args:
        images: [F, H, W, 3] in [0, 1].
        frame: where the box belongs.
        box: [4] as left, top, right, bottom in pixels.
        folder: SAM 2's weights for video.
        device: where the network runs, in float32; it is loaded for this call and released after it.
        step: called after each frame.

    Returns:
        Masks [F, H, W] float32 on the CPU, 0 or 1.

    Raises:
        ValueError: if files are missing, torn or of another network.
    """
    n_frames, height, width = images.shape[:3]
    names = ("Sam2VideoModel",)
    # transformers mixes types where the network is in half precision.
    model, processor = load_pretrained(Path(folder), MASKS, names, ("Sam2VideoProcessor",), device, torch.float32)
    side = int(model.config.image_size)
    require_memory(
        n_frames * (_COLOURS * (side * side + height * width) * FLOAT + 2 * FLOAT * height * width),
        f"Masks of {n_frames} frames at {width} x {height}",
        "Give fewer frames, or smaller images.",
    )
    session = processor.init_video_session(
        video=as_bytes(images),
        inference_device=device,
        processing_device="cpu",
        video_storage_device="cpu",
    )
    processor.add_inputs_to_inference_session(
        session, frame_idx=frame, obj_ids=_PERSON, input_boxes=[[[float(edge) for edge in box]]]
    )
    masks = torch.zeros(n_frames, height, width)
    for backward in (False, True):
        for found in model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=backward):
            (logits,) = processor.post_process_masks(
                [found.pred_masks.float().cpu()], original_sizes=[[height, width]], binarize=False
            )
            masks[found.frame_idx] = (logits.reshape(-1, height, width)[0] > 0).float()
            step()
    return masks
