"""Ego-Exo4D's cameras, joined from its two sources.

The `camera_pose` JSON is asked first. Where it has none, `gopro_calibs.csv` gives the exo cameras, and the glasses'
trajectory with the colour camera's place on them the ego poses. Both sources count from the same world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...geometry.lenses.pinhole import Pinhole
from .aria import read_clock, read_colour_camera, read_device_poses, read_static_cameras
from .camera_pose import LINEAR_SIZE, CameraPoseFile
from .layout import TakeFolder

# The glasses' undistorted view in every `camera_pose` file, for takes without one.
_LINEAR_FOCAL = 150.0  # pixels
_EXO_CALIBRATION = "gopro_calibs.csv"
_TRAJECTORY, _GLASSES_CALIBRATION = "closed_loop_trajectory.csv", "online_calibration.jsonl"
# Two sources of one camera's pose may differ by rounding and refinement, not by this much.
_SAME_PLACE = 0.10  # metres


@dataclass(frozen=True)
class EgoTrack:
    """The poses of the glasses' colour camera.

    Attributes:
        frames: from the first to the last frame that has a pose.
        sensor_poses: gives the world-to-camera matrices [N, 4, 4] at given frames, of the sensor as it is mounted:
            `Camera.turned_clockwise` makes them upright. Raises ValueError where one is missing.
        lens: of the undistorted picture of `LINEAR_SIZE` pixels, as the sensor is mounted.
    """

    frames: range
    sensor_poses: Callable[[Sequence[int]], Tensor]
    lens: Pinhole


class CameraPoses:
    """What a take's files say of its cameras.

    Raises:
        ValueError: if a file is torn or of another kind.
    """

    def __init__(self, take: TakeFolder) -> None:
        self._take = take
        path = take.camera_pose_file()
        self._file = CameraPoseFile(path) if path else None
        table = take.trajectory_file(_EXO_CALIBRATION)
        self._table = read_static_cameras(table) if table else {}

    def exo(self, name: str) -> Camera | None:
        """Return an exo camera of the whole recorded picture, or `None` where no source has its pose.

        Its lens is the recorded picture's fisheye from gopro_calibs.csv. Without that it is `camera_pose`'s pinhole,
        which only the undistorted picture has.

        Raises:
            ValueError: if its numbers are no camera, or the two sources count from different worlds.
        """
        if self._file is None or name not in self._file:
            self._check_one_world()
            return self._table.get(name)
        camera = self._file.exo_camera(name)
        if name not in self._table:
            return camera
        return replace(self._table[name], world_to_camera=camera.world_to_camera)

    def ego(self, name: str) -> EgoTrack:
        """Return the poses of the glasses `name`.

        Raises:
            ValueError: if neither source has them; says which files are missing.
        """
        file = self._file
        if file is not None and name in file:
            return EgoTrack(file.frames(name), lambda frames: file.sensor_poses(name, frames), file.linear_lens(name))
        self._check_one_world()
        return self._track_of_trajectory(name)

    def _track_of_trajectory(self, name: str) -> EgoTrack:
        take = self._take
        clock_name = f"captures/{take.entry.capture}/timesync.csv"
        needed = {
            f"{take.folder}/trajectory/{file}": take.trajectory_file(file)
            for file in (_TRAJECTORY, _GLASSES_CALIBRATION)
        }
        needed[clock_name] = take.find(clock_name)
        missing = [file for file, path in needed.items() if path is None]
        if take.entry.clock_rows is None:
            missing.append("timesync_start_idx and timesync_end_idx in takes.json")
        if missing:
            where = self._file.path if self._file else f"annotations/ego_pose/*/camera_pose/{take.entry.uid}.json"
            raise ValueError(
                f"The take {take.entry.name} has no ego poses: {where} does not give {name!r}, and without it these "
                f"are needed too: {', '.join(missing)}. Download the annotations 'ego_pose', or the take's trajectory "
                "and its capture's timesync."
            )
        trajectory, calibration, clock = needed.values()
        start, end = take.entry.clock_rows
        first_row = start + 1  # as in the dataset's own tutorials: the first row is not of the videos
        camera = read_colour_camera(calibration)

        def sensor_poses(frames: Sequence[int]) -> Tensor:
            column = f"{name}_214-1_capture_timestamp_ns"
            times = read_clock(clock, column, [first_row + frame for frame in frames])
            to_world = read_device_poses(trajectory, [round(time / 1000) for time in times]) @ camera.to_device
            return torch.linalg.inv(to_world)

        lens = Pinhole(_LINEAR_FOCAL, _LINEAR_FOCAL, LINEAR_SIZE / 2, LINEAR_SIZE / 2)
        return EgoTrack(range(max(0, end - first_row)), sensor_poses, lens)

    def _check_one_world(self) -> None:
        """Check that both sources agree on the exo cameras that both have, before they are joined."""
        for name, camera in self._table.items():
            if self._file is None or name not in self._file:
                continue
            away = float(torch.linalg.vector_norm(camera.centers[0] - self._file.exo_camera(name).centers[0]))
            if away > _SAME_PLACE:
                raise ValueError(
                    f"{name} is at two positions, {away:.2f} m apart: by {self._file.path} and by {_EXO_CALIBRATION}. "
                    "They count from different worlds and cannot be joined; remove one of them."
                )
