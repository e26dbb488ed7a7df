"""The camera entries of EgoX's `meta.json`, brought into this pack's convention.

The file holds 3x4 world-to-camera matrices in OpenCV axes and metres. Three things differ from our convention:
exo intrinsics belong to another image size, pixels lie at integer coordinates, and ego extrinsics describe the
sensor as it is mounted, turned against the upright images.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...common.messages import arrived
from ...geometry.cameras.camera import QUARTER_TURN_CLOCKWISE, Camera
from ...geometry.cameras.presets import LensPreset, preset_lens
from ...geometry.lenses import Lens
from ...geometry.lenses.pinhole import Pinhole
from ...geometry.take_kind import take_kind


@dataclass(frozen=True)
class EgoXMeta:
    """One take's entry of a `meta.json`, with the file it came from for messages."""

    entry: dict[str, Any]
    source: str | os.PathLike[str]

    def __getitem__(self, key: str) -> Any:
        if key not in self.entry:
            raise ValueError(f"{self.source} lacks the key {key!r}; it has {sorted(self.entry)}. Fill it in.")
        return self.entry[key]

    def prompt(self) -> str:
        """Return the two-view prompt."""
        return str(self["prompt"])

    def ego_poses(self) -> Tensor:
        """Return the ego poses [F, 4, 4] in upright axes.

        The sensor stands a quarter turn off: an upright frame is the raw image turned clockwise, hence the axes
        (x', y', z') = (-y, x, z).
        """
        raw = Camera(Pinhole(1, 1, 0, 0), 1, 1, self._numbers("ego_extrinsics"))  # checks and completes the matrices
        return QUARTER_TURN_CLOCKWISE @ raw.world_to_camera

    def ego_camera(self, width: int, height: int, lens: LensPreset | Lens = LensPreset.EGOX_RELEASE) -> Camera:
        """Return the ego camera of upright `width` x `height` images.

        The file's own `ego_intrinsics` are one constant for every take and describe no real lens, so the lens is
        chosen: a preset, or a lens of that image size.
        """
        if isinstance(lens, LensPreset):
            lens = preset_lens(lens, width, height)
        return Camera(lens, width, height, self.ego_poses())

    def exo_camera(self, width: int, height: int) -> Camera:
        """Return the exo camera of the whole image scaled to `width` x `height`.

        As the release does it, each axis is scaled by the principal point, which then lies at the image's centre;
        its integer pixel coordinates move that by half a pixel in ours. The extrinsics tell the take's kind.
        """
        fx, fy, cx, cy = self._exo_intrinsics()
        lens = Pinhole(fx * width / (2 * cx), fy * height / (2 * cy), width / 2 + 0.5, height / 2 + 0.5)
        camera = Camera(lens, width, height, self._numbers("camera_extrinsics"))
        return replace(camera, take_kind=take_kind(camera.world_to_camera))

    def exo_aspect(self) -> float:
        """Return width / height of the image that the exo intrinsics belong to."""
        _, _, cx, cy = self._exo_intrinsics()
        return cx / cy

    def _exo_intrinsics(self) -> tuple[float, float, float, float]:
        """Return the focal lengths fx, fy and the principal point cx, cy, checked."""
        intrinsics = self._numbers("camera_intrinsics")
        if intrinsics.shape != (3, 3) or not (intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]] > 0).all():
            raise ValueError(
                f"'camera_intrinsics' of {self.source} must be a 3 x 3 matrix with positive focal lengths and "
                f"principal point, got {intrinsics.tolist()}. Mend that entry."
            )
        (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
        return fx, fy, cx, cy

    def _numbers(self, key: str) -> Tensor:
        value = self[key]
        try:
            return torch.tensor(value, dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{key!r} of {self.source} is an array of numbers, got {arrived(value)}. Mend that entry."
            ) from error
