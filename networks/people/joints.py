"""Joints of people in known boxes, by ViTPose (Xu et al., 2022) through transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ..pretrained import as_bytes, load_pretrained
from ..pretrained_files import POSE

# COCO's body, and its whole body with feet, face and hands.
_JOINTS = (17, 133)
# Which of ViTPose++'s experts to ask: those of COCO, and of COCO whole-body.
_EXPERT = {17: 0, 133: 5}
# People of one frame that go through the network in one go.
_BATCH = 16
_LEAST_SIDE = 2.0  # pixels of a box


@torch.inference_mode()
def find_joints(
    images: Tensor,
    boxes: Tensor,
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    step: Callable[[], None] = cancel_point,
) -> Tensor:
    """Find the joints of people who are followed through a clip.

    Args:
        images: [F, H, W, 3] in [0, 1].
        boxes: [P, F, 4] as left, top, right, bottom in pixels; NaN where a person is not there.
        folder: ViTPose's weights.
        device: where the network runs; it is loaded for this call and released after it.
        dtype: the network's type.
        step: called after each frame.

    Returns:
        [P, F, J, 3] float64 on the CPU: column and row in pixels and confidence in [0, 1]; J is 17 or 133, as COCO
        counts them. Zeros where a person is not there.

    Raises:
        ValueError: if files are missing, torn or of another network, or it finds other joints.
    """
    names = ("VitPoseForPoseEstimation",)
    model, processor = load_pretrained(Path(folder), POSE, names, ("AutoImageProcessor",), device, dtype)
    n_joints = int(model.config.num_labels)
    if n_joints not in _JOINTS:
        raise ValueError(
            f"The weights in {folder} find {n_joints} joints; this node reads {_JOINTS[0]} of COCO's body or "
            f"{_JOINTS[1]} of its whole body. Use {POSE.repository}."
        )
    found = torch.zeros(*boxes.shape[:2], n_joints, 3, dtype=torch.float64)
    for frame in range(len(images)):
        people = boxes[:, frame].isfinite().all(dim=-1).nonzero()[:, 0]
        picture = as_bytes(images[frame : frame + 1])[0].movedim(0, -1).numpy() if len(people) else None
        for some in people.split(_BATCH):
            found[some, frame] = _in_one_frame(model, processor, picture, boxes[some, frame], n_joints, device, dtype)
        step()
    return found


def _in_one_frame(
    model: Any, processor: Any, picture: Any, boxes: Tensor, n_joints: int, device: Any, dtype: torch.dtype
) -> Tensor:
    """Return the joints [P, J, 3] of people in one picture [H, W, 3] of bytes."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(_LEAST_SIDE)
    cut = [torch.cat([boxes[:, :2], sides], dim=-1).tolist()]  # COCO's boxes: left, top, width, height
    pixels = processor([picture], boxes=cut, return_tensors="pt")["pixel_values"]
    extra = {}
    if getattr(model.config.backbone_config, "num_experts", 1) > 1:
        extra["dataset_index"] = torch.full((len(boxes),), _EXPERT[n_joints], device=device)
    heatmaps = model(pixel_values=pixels.to(device, dtype), **extra).heatmaps.float().cpu()
    if not bool(heatmaps.isfinite().all()):
        raise ValueError(
            "ViTPose gives NaN or infinity. Check that the images are between 0 and 1; if they are, download the "
            f"weights again ({POSE.repository})."
        )
    (people,) = processor.post_process_pose_estimation(SimpleNamespace(heatmaps=heatmaps), boxes=cut)
    joints = torch.zeros(len(boxes), n_joints, 3, dtype=torch.float64)
    for number, person in enumerate(people):
        joints[number, :, :2] = torch.as_tensor(person["keypoints"])
        joints[number, :, 2] = torch.as_tensor(person["scores"]).reshape(-1).clamp(0, 1)
    return joints
