"""A made-up clip of the release's size: a wavy wall before a fixed exo camera, an ego camera that looks around."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry.cameras.camera import Camera
from ..geometry.cameras.presets import LensPreset, preset_lens
from ..geometry.cameras.settings import pose_from_angles
from ..geometry.depth.depth import Depth, DepthMeaning
from ..geometry.lenses.pinhole import Pinhole

WIDTH, HEIGHT, EGO_SIZE = 784, 448, 448


@dataclass(frozen=True, eq=False)
class Clip:
    """Images [F, 448, 784, 3], their depth and camera, and the ego camera with F poses."""

    images: Tensor
    depth: Depth
    exo_camera: Camera
    ego_camera: Camera


def make_clip(n_frames: int) -> Clip:
    """Return a clip whose 87,808 points a frame (every second pixel) cover about half of the ego view."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    pattern = torch.stack([(9 * rows).sin(), (13 * columns).cos(), (7 * rows * columns).sin()], dim=-1) / 2 + 0.5
    wall = 3 + 0.8 * (6 * columns).sin() + 0.4 * (5 * rows).cos()  # metres
    time = torch.linspace(0, 1, n_frames)[:, None, None]
    depth = wall + 0.05 * (6.28 * time + 3 * columns).sin()  # [F, H, W]
    path = torch.stack(
        [
            pose_from_angles((0.3 * float(t), 0.1, 0.6), (20 * float(t) - 35, -5.0, 10 * float(t)))
            for t in time.flatten()
        ]
    )
    return Clip(
        images=pattern.expand(n_frames, HEIGHT, WIDTH, 3),
        depth=Depth(depth, DepthMeaning.METRIC),
        exo_camera=Camera(Pinhole(634.0, 634.0, WIDTH / 2, HEIGHT / 2), WIDTH, HEIGHT, torch.eye(4)),
        ego_camera=Camera(preset_lens(LensPreset.EGOX_RELEASE, EGO_SIZE, EGO_SIZE), EGO_SIZE, EGO_SIZE, path),
    )
