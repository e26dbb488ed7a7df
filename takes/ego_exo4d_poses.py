"""Ego-Exo4D's camera poses: exo cameras, and the glasses' colour camera at every frame.

`camera_pose` JSON of the ego pose benchmark, world to camera, 3 x 4:

    camNN    camera_intrinsics of the undistorted 3840 x 2160 image, camera_extrinsics, distortion_coeffs
    ariaNN   camera_intrinsics of the undistorted 512 x 512 image, camera_extrinsics by the number of the frame

Where it is missing, `gopro_calibs.csv` gives the exo cameras, and the glasses' trajectory the ego poses. Both count
from the same world. The glasses' sensor is mounted a quarter turn off: poses here are those of the unturned sensor, and
`Camera.turned_clockwise` makes them upright together with the lens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..geometry.camera import Camera
from ..geometry.lens import Pinhole
from .aria_files import read_clock, read_colour_camera, read_device_poses, read_static_cameras
from .ego_exo4d_layout import TakeFolder
from .files import load_json

EXO_SIZE = (3840, 2160)  # pixels
# The linear view of the glasses' colour camera that `camera_pose` describes.
LINEAR_SIZE, LINEAR_FOCAL = 512, 150.0

_EXO_CALIBRATION = "gopro_calibs.csv"
_TRAJECTORY, _CALIBRATION = "closed_loop_trajectory.csv", "online_calibration.jsonl"
# Two sources of one camera's pose may differ by rounding and refinement, not by this much.
_SAME_PLACE = 0.10  # metres


@dataclass(frozen=True)
class EgoTrack:
    """The poses of the glasses' colour camera.

    Attributes:
        first: the first frame that has one.
        end: the frame after the last that has one.
        source: the file, for messages.
        poses: gives the world-to-camera matrices [N, 4, 4] of the unturned sensor at given frames; raises ValueError
            where one is missing.
    """

    first: int
    end: int
    source: Path
    poses: Callable[[Sequence[int]], Tensor]


class CameraPoses:
    """What a take's files say of its cameras.

    Raises:
        ValueError: if a file is torn or of another kind.
    """

    def __init__(self, take: TakeFolder) -> None:
        self._take = take
        self._file = take.camera_pose_file()
        self._content = _camera_pose(self._file) if self._file else {}
        calibration = take.trajectory_file(_EXO_CALIBRATION)
        self._measured = read_static_cameras(calibration) if calibration else {}

    def exo(self, name: str) -> Camera | None:
        """Return an exo camera of the whole recorded picture, or `None` where it has no pose.

        The pose comes from `camera_pose` where that has it. The lens is the recorded picture's fisheye from
        gopro_calibs.csv; without that file it is `camera_pose`'s pinhole, which only the undistorted picture has.

        Raises:
            ValueError: if the two files count from different worlds, or a number is none.
        """
        measured = self._measured.get(name)
        if name not in self._content:
            self._check_one_world()
            return measured
        intrinsics, extrinsics = self._numbers(name, "camera_intrinsics"), self._numbers(name, "camera_extrinsics")
        try:
            camera = Camera(_pinhole(intrinsics), *EXO_SIZE, extrinsics)
        except ValueError as error:
            raise ValueError(f"{name} in {self._file}: {error}") from error
        return (
            camera
            if measured is None
            else Camera(measured.lens, measured.width, measured.height, camera.world_to_camera)
        )

    def ego(self, name: str) -> EgoTrack:
        """Return the poses of the glasses `name`.

        Raises:
            ValueError: if neither `camera_pose` nor the trajectory has them; says which files are missing.
        """
        if name in self._content:
            return self._track_of_json(name)
        needed = {
            f"{self._take.folder}/trajectory/{file}": self._take.trajectory_file(file)
            for file in (_TRAJECTORY, _CALIBRATION)
        }
        clock = f"captures/{self._take.entry.capture}/timesync.csv"
        needed[clock] = self._take.find(clock)
        missing = [file for file, path in needed.items() if path is None]
        if self._take.entry.clock_rows is None:
            missing.append("timesync_start_idx and timesync_end_idx in takes.json")
        if missing:
            where = self._file or f"annotations/ego_pose/*/camera_pose/{self._take.entry.uid}.json"
            raise ValueError(
                f"The take {self._take.entry.name} has no ego poses: {where} does not give {name!r}, and without it "
                f"these are needed too: {', '.join(missing)}. Download the annotations 'ego_pose', or the take's "
                "trajectory and its capture's timesync."
            )
        return self._track_of_trajectory(name, *needed.values())

    def linear_lens(self, name: str) -> Pinhole:
        """Return the lens of the glasses' undistorted view of `LINEAR_SIZE` pixels."""
        if name not in self._content:
            return Pinhole(LINEAR_FOCAL, LINEAR_FOCAL, LINEAR_SIZE / 2, LINEAR_SIZE / 2)
        lens = _pinhole(self._numbers(name, "camera_intrinsics"))
        if abs(lens.cx / (LINEAR_SIZE / 2) - 1) > 0.1:
            raise ValueError(
                f"The principal point of {name} in {self._file} lies at column {lens.cx:.1f}; expected about "
                f"{LINEAR_SIZE / 2:.0f}, the middle of its undistorted image of {LINEAR_SIZE} pixels."
            )
        return lens

    def _track_of_json(self, name: str) -> EgoTrack:
        extrinsics = self._entry(name).get("camera_extrinsics")
        if not isinstance(extrinsics, dict) or not extrinsics or not all(key.isdecimal() for key in extrinsics):
            raise ValueError(f"{name} in {self._file} has no 'camera_extrinsics' by the number of the frame.")
        by_frame = {int(key): value for key, value in extrinsics.items()}

        def poses(frames: Sequence[int]) -> Tensor:
            missing = [frame for frame in frames if frame not in by_frame]
            if missing:
                raise ValueError(f"{self._file} has no pose of {name} at frame {missing[0]}. Start elsewhere.")
            matrices = [
                _tensor(by_frame[frame], f"the pose of {name} at frame {frame}", self._file) for frame in frames
            ]
            for frame, matrix in zip(frames, matrices):
                if matrix.shape not in ((3, 4), (4, 4)):
                    raise ValueError(f"The pose of {name} at frame {frame} in {self._file} is no 3 x 4 matrix.")
            return _checked(torch.stack([matrix[:3] for matrix in matrices]), f"{name} in {self._file}")

        return EgoTrack(min(by_frame), max(by_frame) + 1, self._file, poses)

    def _track_of_trajectory(self, name: str, trajectory: Path, calibration: Path, clock: Path) -> EgoTrack:
        self._check_one_world()
        before_first, end = self._take.entry.clock_rows  # the first row belongs to the frame before the videos'
        camera = read_colour_camera(calibration)

        def poses(frames: Sequence[int]) -> Tensor:
            rows = [before_first + 1 + frame for frame in frames]
            times = read_clock(clock, f"{name}_214-1_capture_timestamp_ns", rows)
            to_world = read_device_poses(trajectory, [round(time / 1000) for time in times]) @ camera.to_device
            return _checked(torch.linalg.inv(to_world), f"{name} in {trajectory}")

        return EgoTrack(0, max(0, end - before_first - 1), trajectory, poses)

    def _check_one_world(self) -> None:
        """Check that gopro_calibs.csv and `camera_pose` agree on the exo cameras that both have."""
        for name in sorted(self._measured.keys() & self._content.keys()):
            matrix = self._numbers(name, "camera_extrinsics")
            place = Camera(Pinhole(1, 1, 0, 0), 1, 1, matrix).centers[0]
            away = float(torch.linalg.vector_norm(self._measured[name].centers[0] - place))
            if away > _SAME_PLACE:
                raise ValueError(
                    f"{name} stands at two places, {away:.2f} m apart: by {self._file} and by {_EXO_CALIBRATION}. The "
                    "files count from different worlds and cannot be joined; remove one of them."
                )

    def _entry(self, name: str) -> dict[str, Any]:
        entry = self._content[name]
        if not isinstance(entry, dict):
            raise ValueError(f"{name} in {self._file} is no object with a camera's matrices.")
        return entry

    def _numbers(self, name: str, key: str) -> Tensor:
        return _tensor(self._entry(name).get(key), f"{key!r} of {name}", self._file)


def _camera_pose(path: Path) -> dict[str, Any]:
    content = load_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no camera_pose file: expected an object with one entry a camera.")
    return content


def _pinhole(intrinsics: Tensor) -> Pinhole:
    """Make the lens of a 3 x 3 matrix whose principal point counts from the centre of the first pixel."""
    if intrinsics.shape != (3, 3):
        raise ValueError(f"'camera_intrinsics' must be a 3 x 3 matrix, got {list(intrinsics.shape)}.")
    (fx, _, cx), (_, fy, cy), _ = intrinsics.tolist()
    return Pinhole(fx, fy, cx + 0.5, cy + 0.5)


def _checked(poses: Tensor, what: str) -> Tensor:
    """Complete world-to-camera matrices to [N, 4, 4] and check that they are poses."""
    try:
        return Camera(Pinhole(1, 1, 0, 0), 1, 1, poses).world_to_camera
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _tensor(value: Any, what: str, path: Path | None) -> Tensor:
    try:
        return torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} in {path} is no array of numbers: {error}.") from error
