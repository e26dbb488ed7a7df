"""Boxes around people, picture by picture, by RT-DETR (Zhao et al., 2024) through transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ..pretrained import as_bytes, load_pretrained
from ..pretrained_files import DETECTOR

# Pictures that go through the network in one go.
_BATCH = 4
_PERSON = "person"


@torch.inference_mode()
def detect_people(
    images: Tensor,
    folder: str | Path,
    *,
    least: float = 0.25,
    device: torch.device | str = "cpu",
    step: Callable[[], None] = cancel_point,
) -> list[tuple[Tensor, Tensor]]:
    """Find the people of every frame.

    Args:
        images: [F, H, W, 3] in [0, 1].
        folder: RT-DETR's weights.
        least: boxes that are less sure are left out.
        device: where the network runs, in float32; it is loaded for this call and released after it.
        step: called after each frame.

    Returns:
        Of each frame boxes [P, 4] as left, top, right, bottom in pixels within the picture, and scores [P]; float64 on
        the CPU.

    Raises:
        ValueError: if files are missing, torn or of another network, or it knows no people.
    """
    names = ("AutoModelForObjectDetection",)
    # In half precision it takes other queries: not worth it for so small a network.
    model, processor = load_pretrained(Path(folder), DETECTOR, names, ("AutoImageProcessor",), device, torch.float32)
    person = _label(model.config, Path(folder))
    height, width = images.shape[1:3]
    ends = torch.tensor([width, height, width, height], dtype=torch.float64)
    found = []
    for part in images.split(_BATCH):
        pixels = processor(images=list(as_bytes(part)), return_tensors="pt")["pixel_values"]
        outputs = model(pixel_values=pixels.to(device))
        # RT-DETR scores each class by itself; its boxes are middle and size in shares of the picture.
        scores = outputs.logits[..., person].sigmoid().to("cpu", torch.float64)
        shares = outputs.pred_boxes.to("cpu", torch.float64)
        if not bool(scores.isfinite().all() and shares.isfinite().all()):
            raise ValueError(
                "RT-DETR gives NaN or infinity. Check that the images are between 0 and 1; if they are, download the "
                f"weights again ({DETECTOR.repository})."
            )
        middle, half = shares[..., :2], shares[..., 2:] / 2
        boxes = (torch.cat([middle - half, middle + half], dim=-1).clamp(0, 1)) * ends
        for frame_boxes, frame_scores in zip(boxes, scores):
            kept = (frame_scores >= least).nonzero()[:, 0]
            kept = kept[frame_scores[kept].argsort(descending=True)]
            found.append((frame_boxes[kept], frame_scores[kept]))
            step()
    return found


def _label(config: Any, folder: Path) -> int:
    """Return the number of the class of people."""
    for number, name in (getattr(config, "id2label", None) or {}).items():
        if str(name).lower() == _PERSON:
            return int(number)
    raise ValueError(
        f"The detector in {folder} knows no class '{_PERSON}', so it cannot find people. Use weights that were trained "
        f"on COCO, such as {DETECTOR.repository}."
    )
