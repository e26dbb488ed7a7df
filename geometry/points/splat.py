"""Points of other programs' scenes: Gaussian splats of newer ComfyUI cores (SPLAT), and what splats have in PLY files.

A splat becomes a point at its middle, of its plain color; those that are nearly transparent are left out. Axes are as
the scene has them: of splats made from photographs mostly OpenCV's (x right, y down, z forward).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.messages import arrived, with_advice

# The constant of spherical harmonics: of a splat's first coefficient the color is 0.5 + this times it.
_DC = 0.28209479177387814
# Splats below this opacity are haze around surfaces.
_LEAST_OPACITY = 0.1
# Metres: farther ones are sky, or went astray.
_FARTHEST = 1e5


@with_advice("Connect a SPLAT output of ComfyUI's own nodes, with one scene in it.")
def read_splat(payload: Any) -> tuple[Tensor, Tensor]:
    """Read SPLAT: `positions` [B, N, 3], `opacities` [B, N, 1], `sh` [B, N, K, 3] and `counts` [B] or None.

    Returns:
        Points and colors [M, 3] float32, colors in [0, 1].

    Raises:
        ValueError: if it holds something else, several scenes, or no splat that shows.
    """
    positions, opacities, harmonics = (
        _tensor(payload, name, dimensions) for name, dimensions in (("positions", 3), ("opacities", 3), ("sh", 4))
    )
    if len(positions) != 1:
        raise ValueError(f"The SPLAT holds {len(positions)} scenes, and one is taken.")
    counts = getattr(payload, "counts", None)
    count = positions.shape[1] if counts is None else int(torch.as_tensor(counts).flatten()[0])
    if positions.shape[2] != 3 or harmonics.shape[3] != 3 or not 0 <= count <= positions.shape[1]:
        raise ValueError(f"The SPLAT has positions {list(positions.shape)} and colors {list(harmonics.shape)}.")
    if not opacities.shape[:2] == harmonics.shape[:2] == positions.shape[:2]:
        raise ValueError("The SPLAT has other numbers of positions, opacities and colors.")
    points = positions[0, :count]
    return visible_points(points, color_of_splats(harmonics[0, :count, 0]), opacities[0, :count, 0])


def color_of_splats(first: Tensor) -> Tensor:
    """Return colors [N, 3] in [0, 1] of the first coefficients of spherical harmonics [N, 3]."""
    return (0.5 + _DC * first).clamp(0, 1)


def visible_points(points: Tensor, colors: Tensor, opacity: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Leave out points [N, 3] that are not finite, far away or nearly transparent, and their colors.

    Raises:
        ValueError: if none is left.
    """
    kept = torch.isfinite(points).all(dim=1) & torch.isfinite(colors).all(dim=1) & (points.abs() < _FARTHEST).all(dim=1)
    if opacity is not None:
        kept &= opacity >= _LEAST_OPACITY
    if not bool(kept.any()):
        raise ValueError(f"None of the {len(points):,} points can be seen.")
    return points[kept], colors[kept]


def _tensor(payload: Any, name: str, dimensions: int) -> Tensor:
    value = getattr(payload, name, None)
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim != dimensions or value.is_meta:
        raise ValueError(f"{name!r} of a SPLAT is a tensor of {dimensions} dimensions, got {arrived(value)}.")
    return value.detach().to("cpu", torch.float32)
