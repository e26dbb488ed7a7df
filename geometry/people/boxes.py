"""Boxes [N, 4] as left, top, right, bottom in pixels."""

from __future__ import annotations

import torch
from torch import Tensor

# A detector gives somebody twice where two of its boxes share this much.
_ONE_PERSON = 0.8


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return how much boxes [N, 4] and [M, 4] share, as intersection over union [N, M]; 0 where one is empty or NaN."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return (shared / union.clamp_min(1e-9)).nan_to_num(0.0)


def areas(boxes: Tensor) -> Tensor:
    """Return the areas [...] of boxes [..., 4] in square pixels."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1)


def without_doubles(boxes: Tensor, scores: Tensor) -> Tensor:
    """Return which boxes [N] bool stay where each person is to have one: the surest of those that cover each other."""
    shared = overlaps(boxes, boxes)
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    for one in scores.argsort(descending=True, stable=True).tolist():
        kept[one] = not bool((shared[one][kept] > _ONE_PERSON).any())
    return kept
