"""Ego-Exo4D's `camera_pose` JSON of the ego pose benchmark: world-to-camera matrices, 3 x 4, in metres.

    camNN    camera_intrinsics of the undistorted 3840 x 2160 image, camera_extrinsics, distortion_coeffs
    ariaNN   camera_intrinsics of the undistorted 512 x 512 image, camera_extrinsics by the number of the frame

Principal points count from the centre of the first pixel, so half a pixel is added. The poses of the glasses are those
of the colour sensor as it is mounted, a quarter turn off the upright pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...common.messages import sentence
from ...geometry.cameras.camera import Camera
from ...geometry.lenses.pinhole import Pinhole
from ..files import load_json
from .layout import COPY_AGAIN

EXO_SIZE = (3840, 2160)  # pixels
LINEAR_SIZE = 512  # pixels: the glasses' undistorted image is square


class CameraPoseFile:
    """One take's file.

    Raises:
        ValueError: if it is missing or holds no object.
    """

    def __init__(self, path: Path) -> None:
        content = load_json(path)
        if not isinstance(content, dict):
            raise ValueError(
                f"{path} is not a camera_pose file: expected an object with one entry a camera. {COPY_AGAIN}"
            )
        self.path = path
        self._content: dict[str, Any] = content

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def exo_camera(self, name: str) -> Camera:
        """Return an exo camera with the pinhole of its undistorted picture.

        Raises:
            ValueError: if its numbers are no camera.
        """
        with self._explained(name):
            return Camera(self._pinhole(name), *EXO_SIZE, self._numbers(name, "camera_extrinsics"))

    def linear_lens(self, name: str) -> Pinhole:
        """Return the lens of the undistorted picture of the glasses `name`, before it is turned upright.

        Raises:
            ValueError: if it does not belong to `LINEAR_SIZE` pixels.
        """
        with self._explained(name):
            lens = self._pinhole(name)
            if abs(lens.cx / (LINEAR_SIZE / 2) - 1) > 0.1:
                raise ValueError(
                    f"its principal point lies at column {lens.cx:.1f}; expected about {LINEAR_SIZE / 2:.0f}, the "
                    f"middle of the undistorted image of {LINEAR_SIZE} pixels."
                )
            return lens

    def frames(self, name: str) -> range:
        """Return the frames from the first to the last pose of the glasses `name`; some between may be missing.

        Raises:
            ValueError: if it has no poses.
        """
        numbers = [int(key) for key in self._poses(name)]
        return range(min(numbers), max(numbers) + 1)

    def sensor_poses(self, name: str, frames: Sequence[int]) -> Tensor:
        """Return the world-to-camera matrices [N, 4, 4] of the unturned sensor at given frames.

        Raises:
            ValueError: if one is missing or no pose.
        """
        poses = self._poses(name)
        missing = [frame for frame in frames if str(frame) not in poses]
        if missing:
            raise ValueError(f"{self.path} has no pose of {name} at frame {missing[0]}. Start elsewhere.")
        return torch.cat([self._pose(f"{name} at frame {frame}", poses[str(frame)]) for frame in frames])

    def _poses(self, name: str) -> dict[str, Any]:
        poses = self._entry(name).get("camera_extrinsics")
        if not isinstance(poses, dict) or not poses or not all(key.isdecimal() for key in poses):
            raise ValueError(
                f"{name} in {self.path} has no 'camera_extrinsics' by the number of the frame. {COPY_AGAIN}"
            )
        return poses

    def _pose(self, what: str, value: Any) -> Tensor:
        """Return one checked pose as [1, 4, 4]."""
        with self._explained(what):
            matrix = torch.tensor(value, dtype=torch.float64)
            if matrix.ndim != 2:
                raise ValueError(f"expected one matrix 3 x 4, got the shape {list(matrix.shape)}.")
            return Camera(Pinhole(1, 1, 0, 0), 1, 1, matrix).world_to_camera

    def _pinhole(self, name: str) -> Pinhole:
        intrinsics = self._numbers(name, "camera_intrinsics")
        if intrinsics.shape != (3, 3):
            raise ValueError(f"'camera_intrinsics' must be a 3 x 3 matrix, got the shape {list(intrinsics.shape)}.")
        (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
        return Pinhole(fx, fy, cx + 0.5, cy + 0.5)

    def _numbers(self, name: str, key: str) -> Tensor:
        entry = self._entry(name)
        if key not in entry:
            raise ValueError(f"it lacks {key!r}.")
        return torch.tensor(entry[key], dtype=torch.float64)

    def _entry(self, name: str) -> dict[str, Any]:
        entry = self._content[name]
        if not isinstance(entry, dict):
            raise ValueError(f"{name} in {self.path} is not an object with a camera's matrices. {COPY_AGAIN}")
        return entry

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Name camera and file in whatever its numbers raise."""
        try:
            yield
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{what} in {self.path}: {sentence(str(error))} {COPY_AGAIN}") from error
