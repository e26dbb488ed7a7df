"""Which way is down: from the ground that the depth shows, the world's own axes, or the person's body.

A trunk alone misleads, as people bend over what they do. Floors, tables and streets are level almost always, and a
world that somebody has calibrated has gravity along one of its axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..depth.depth import Depth
from ..head.keypoints import Joint, Limb
from .body import Body

# Surfaces count whose normals lie this near to the body's upward direction.
_GATE = math.radians(40)
_SAME = math.radians(10)  # normals within this of each other are one plane's
# A level surface fills this share of the picture, and has this share of all normals in the gate.
_LEAST_SHARE, _LEAST_AGREEMENT = 0.15, 0.7
_WORLD_GATE = math.radians(25)  # how far an axis of the world may lie from the body's down
_FRAMES, _COLUMNS = 5, 130  # frames and columns at which normals are taken
_CANDIDATES = 400


def scene_down(body: Body, depth: Depth) -> Tensor:
    """Return the unit vector downwards in the exo camera's axes [F, 3]; in the world it is one for the clip.

    Args:
        body: the person.
        depth: metric, F frames.
    """
    by_body = _of_body(body)
    found = _of_axes(body, by_body)
    if found is None:
        found = _of_surfaces(body, depth, by_body)
    down = by_body if found is None else found
    return (body.to_world.mT @ down[:, None])[..., 0]


def _of_body(body: Body) -> Tensor:
    """Return the body's mean way down in the world [3]: neck to hips and on to the feet; the picture's without hips."""
    hips = body.middle(Joint.LEFT_HIP, Joint.RIGHT_HIP)
    ankles = body.middle(Limb.LEFT_ANKLE, Limb.RIGHT_ANKLE)
    parts = [_mean_way(body, hips - body.neck), _mean_way(body, ankles - hips)]
    known = [part for part in parts if part is not None]
    if not known:
        return torch.nn.functional.normalize(body.to_world[:, :, 1].mean(dim=0), dim=0)
    return torch.nn.functional.normalize(torch.stack(known).sum(dim=0), dim=0)


def _mean_way(body: Body, ways: Tensor) -> Tensor | None:
    ways = (body.to_world @ torch.nn.functional.normalize(ways, dim=-1)[..., None])[..., 0]
    known = ways[ways.isfinite().all(dim=-1)]
    return torch.nn.functional.normalize(known.median(dim=0).values, dim=0) if len(known) else None


def _of_axes(body: Body, near: Tensor) -> Tensor | None:
    """Return the axis of the world that points down [3]; `None` where the world is but the camera's own."""
    identity = torch.eye(3, dtype=torch.float64)
    if bool(torch.isclose(body.to_world[0], identity, atol=1e-6).all()):
        return None
    axes = torch.cat([identity[1:], -identity[1:]])  # y or z; nobody has gravity along x
    best = axes[int((axes @ near).argmax())]
    return best if float(best @ near) > math.cos(_WORLD_GATE) else None


def _of_surfaces(body: Body, depth: Depth, near: Tensor) -> Tensor | None:
    """Return the direction [3] against which most of the scene's surfaces face, where most agree on it."""
    normals = _normals(body, depth)
    facing_up = normals[(normals @ -near) > math.cos(_GATE)]
    if len(facing_up) < _LEAST_SHARE * len(normals) or not len(facing_up):
        return None
    candidates = facing_up[:: max(1, len(facing_up) // _CANDIDATES)]
    votes = (facing_up @ candidates.T > math.cos(_SAME)).sum(dim=0)
    up = candidates[int(votes.argmax())]
    for _ in range(5):
        alike = facing_up @ up > math.cos(_SAME)
        up = torch.nn.functional.normalize(facing_up[alike].mean(dim=0), dim=0)
    n = int(alike.sum())
    return -up if n >= _LEAST_SHARE * len(normals) and n >= _LEAST_AGREEMENT * len(facing_up) else None


def _normals(body: Body, depth: Depth) -> Tensor:
    """Return normals of the scene's surfaces in the world [N, 3], towards the camera."""
    chosen = sorted({round(frame) for frame in torch.linspace(0, len(body) - 1, _FRAMES).tolist()})
    metres = depth.metric()[chosen].to(torch.float64)
    step = max(2, depth.width // _COLUMNS)
    rows, columns = torch.meshgrid(
        torch.arange(step // 2, depth.height, step), torch.arange(step // 2, depth.width, step), indexing="ij"
    )
    values = metres[:, rows, columns]
    rays = body.camera.lens.unproject(torch.stack([columns, rows], dim=-1).to(torch.float64) + 0.5)
    points = (rays / rays[..., 2:].clamp_min(1e-6)) * values.where(values > 0, torch.nan)[..., None]
    if min(points.shape[1:3]) < 3:
        return points.new_zeros(0, 3)
    across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    along = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normals = torch.nn.functional.normalize(torch.linalg.cross(along, across), dim=-1)
    away = (normals * points[:, 1:-1, 1:-1]).sum(dim=-1, keepdim=True) > 0
    normals = torch.where(away, -normals, normals).flatten(1, 2)  # [C, N, 3]
    normals = (normals @ body.to_world[chosen].mT).flatten(0, 1)
    return normals[normals.isfinite().all(dim=-1)]
