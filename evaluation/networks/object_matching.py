"""How near objects come: matched by appearance, compared by place, box and outline (EgoX, appendix; Ego-Exo4D)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ..regions import iou

SAME_OBJECT = 0.9  # the cosine of two embeddings from which they count as one object (EgoX, Eq. 8)


def matches(true: Tensor, made: Tensor, threshold: float = SAME_OBJECT) -> list[tuple[int, int]]:
    """Return all pairs of objects that look alike.

    Args:
        true: an embedding of each object of the true view [N, D].
        made: of each object of the scored view [M, D].
        threshold: least cosine of a pair.
    """
    if not len(true) or not len(made):
        return []
    cosines = torch.nn.functional.normalize(true, dim=1) @ torch.nn.functional.normalize(made, dim=1).T  # [N, M]
    return [(int(first), int(second)) for first, second in (cosines >= threshold).nonzero()]


def object_scores(true: Tensor, made: Tensor, pairs: list[tuple[int, int]]) -> Mapping[str, Tensor]:
    """Compare matched objects: the mean over frames that show both, then over pairs.

    Args:
        true: masks of the true view's objects [N, F, H, W] bool.
        made: of the scored view's [M, F, H, W].
        pairs: (of true, of made).

    Returns:
        `object_location`, the distance of the boxes' centers in pixels; `object_iou` of the boxes; `object_contour`,
        the IoU of the masks with their centers laid on each other. NaN where no pair is seen; each [1].
    """
    found = []
    for first, second in pairs:
        rows = []
        for one, other in zip(true[first], made[second]):
            cancel_point()
            if one.any() and other.any():
                rows.append(_compared(one, other))
        if rows:
            found.append(torch.tensor(rows, dtype=torch.float64).mean(dim=0))
    means = torch.stack(found).mean(dim=0) if found else torch.full((3,), math.nan, dtype=torch.float64)
    return {name: means[place : place + 1] for place, name in enumerate(NAMES)}


NAMES = ("object_location", "object_iou", "object_contour")


def box_of(mask: Tensor) -> tuple[int, int, int, int]:
    """Return left, top, and the ends right and bottom of what a mask [H, W] holds."""
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _compared(one: Tensor, other: Tensor) -> tuple[float, float, float]:
    first, second = box_of(one), box_of(other)
    distance = math.dist(_center(first), _center(second))
    return distance, _box_iou(first, second), _aligned_iou(one, first, other, second)


def _center(box: tuple[int, int, int, int]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _box_iou(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    width = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width * height / (areas - width * height)


def _aligned_iou(
    one: Tensor, first: tuple[int, int, int, int], other: Tensor, second: tuple[int, int, int, int]
) -> float:
    """Return the IoU of what two masks hold, with the boxes' centers in one place."""
    width, height = (max(first[side + 2] - first[side], second[side + 2] - second[side]) for side in (0, 1))
    cut = torch.zeros(2, height, width, dtype=torch.bool)
    for place, (mask, box) in enumerate(((one, first), (other, second))):
        left, top = (width - (box[2] - box[0])) // 2, (height - (box[3] - box[1])) // 2
        part = mask[box[1] : box[3], box[0] : box[2]]
        cut[place, top : top + part.shape[0], left : left + part.shape[1]] = part
    return iou(cut[0], cut[1])
