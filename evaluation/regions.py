"""What the exo camera saw of an ego view, and what a model had to invent: told from the ego prior's holes."""

from __future__ import annotations

from torch import Tensor

# A prior's pixel counts as covered where its largest channel exceeds this: black is where no point landed, and
# compressed video makes black a little less black. (Of a prior just rendered the renderer's own mask says more.)
COVERED_ABOVE = 16 / 255


def covered(prior: Tensor) -> Tensor:
    """Return the pixels of a prior [F, H, W, 3] that hold something [F, H, W]."""
    return prior[..., :3].amax(dim=-1) > COVERED_ABOVE


def iou(first: Tensor, second: Tensor) -> float:
    """Return intersection over union of two masks; 1 where both are empty."""
    union = float((first | second).sum())
    return float((first & second).sum()) / union if union else 1.0
