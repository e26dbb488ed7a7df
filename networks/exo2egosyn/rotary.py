"""Wan's rotary position embedding: attention heads of 128 channels turned by a token's frame, row and column.

A head's channels are 64 pairs (0, 1), (2, 3), ...: the first 22 turn by the frame, 21 by the row, 21 by the column, as
in Wan's own self-attention. Pair k of the m that belong to a position turns by position * 10000^(-k / m).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.wan_grid import HEAD_CHANNELS

_BASE = 10_000.0


def rotary_turns(grid: tuple[int, int, int], device: Any = None) -> Tensor:
    """Return how far the pairs of every token turn: [frames * rows * columns, 64] angles in float32.

    Args:
        grid: frames, rows and columns of tokens.
        device: where the angles shall lie.
    """
    pairs = HEAD_CHANNELS // 2
    counts = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in grid]
    angles = []
    for positions, count in zip(torch.meshgrid(*axes, indexing="ij"), counts):
        frequencies = _BASE ** -(torch.arange(count, dtype=torch.float32, device=device) / count)
        angles.append(positions.reshape(-1, 1) * frequencies)
    return torch.cat(angles, dim=1)


def turned(heads: Tensor, turns: Tensor) -> Tensor:
    """Turn the pairs of heads [B, heads, n, 128] by angles [n, 64], in float32; returns the type of `heads`."""
    x, y = heads.float().unflatten(3, (-1, 2)).unbind(-1)  # [B, heads, n, 64] each
    cos, sin = turns.cos(), turns.sin()
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1).flatten(3).to(heads.dtype)
