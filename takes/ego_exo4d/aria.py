"""Files of Project Aria's machine perception services, as they lie in Ego-Exo4D's `trajectory` folders.

gopro_calibs.csv            fixed exo cameras: pose in the world and fisheye lens
closed_loop_trajectory.csv  the glasses' pose in the world, 1000 a second
online_calibration.jsonl    the glasses' cameras on the glasses, again and again; the first line is used
timesync.csv                (in `captures`) the glasses' clock at each frame

All of them count from one world with z up, in metres. Quaternions are x, y, z, w unless said otherwise. Principal
points count from the centre of the first pixel, so half a pixel is added.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...common.messages import sentence
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.rotations import quaternions_to_matrices, rigid
from ...geometry.lenses.fisheye624 import Fisheye624
from .layout import COPY_AGAIN

_RGB_LABEL = "camera-rgb"
RGB_SIZE = 1408  # pixels: Ego-Exo4D records the colour camera at half its native resolution
# Aria's colour camera has 2880 x 2880 pixels; the half resolution leaves out a border of 32 before it bins two by two.
_RGB_NATIVE_SIZE, _RGB_BORDER = 2880, 32

_OPENCV_FISHEYE = "KANNALABRANDTK3"
_WORLD_CAMERA = tuple(f"{part}_world_cam" for part in ("tx", "ty", "tz", "qx", "qy", "qz", "qw"))
_WORLD_DEVICE = tuple(f"{part}_world_device" for part in ("tx", "ty", "tz", "qx", "qy", "qz", "qw"))
_TIME = "tracking_timestamp_us"

# What reading a torn or foreign file raises: no text, no JSON, no number, too short, of another structure.
_UNREADABLE = (ValueError, LookupError, TypeError, ArithmeticError, OSError, RecursionError, csv.Error)

# The trajectory has a pose every millisecond; one further away is no pose of that moment.
_LONGEST_GAP_US = 5_000


@dataclass(frozen=True, eq=False)
class ColourCamera:
    """The glasses' colour camera.

    Attributes:
        lens: of the recorded `RGB_SIZE` x `RGB_SIZE` image as the sensor is mounted, not turned upright.
        to_device: [4, 4], camera to glasses.
    """

    lens: Fisheye624
    to_device: Tensor


def read_static_cameras(path: Path) -> dict[str, Camera]:
    """Read the exo cameras of a `gopro_calibs.csv` by their names; those that could not be localised are left out.

    Raises:
        ValueError: if the file is no such table, or a camera has another lens model.
    """
    cameras: dict[str, Camera] = {}
    with _table(path, ("cam_uid", *_WORLD_CAMERA, "image_width", "image_height", "intrinsics_type")) as rows:
        for row in rows:
            name = row["cam_uid"]
            if float(row.get("quality") or 1) != 1:
                continue
            if row["intrinsics_type"] != _OPENCV_FISHEYE:
                raise ValueError(f"{name} has the lens model {row['intrinsics_type']!r}; expected {_OPENCV_FISHEYE}.")
            fx, fy, cx, cy, *radial = (float(row[f"intrinsics_{number}"]) for number in range(8))
            if abs(fx / fy - 1) > 0.005:
                raise ValueError(f"{name} has two focal lengths, {fx} and {fy}; expected one.")
            lens = Fisheye624((fx * fy) ** 0.5, cx + 0.5, cy + 0.5, radial=(*radial, 0.0, 0.0))
            pose = _pose([float(row[key]) for key in _WORLD_CAMERA])
            camera = Camera(lens, int(row["image_width"]), int(row["image_height"]), torch.linalg.inv(pose))
            cameras.setdefault(name, camera)
    return cameras


def read_colour_camera(path: Path) -> ColourCamera:
    """Read the colour camera of an `online_calibration.jsonl`.

    Raises:
        ValueError: if its first line holds no such camera.
    """
    with _explained(path, "a color camera"):
        with path.open(encoding="utf-8") as lines:
            content = json.loads(lines.readline())
        by_label = {camera["Label"]: camera for camera in content["CameraCalibrations"]}
        entry = by_label[_RGB_LABEL]
        focal, cx, cy, *rest = (float(value) for value in entry["Projection"]["Params"])
        lens = Fisheye624(focal, cx + 0.5, cy + 0.5, tuple(rest[:6]), tuple(rest[6:8]), tuple(rest[8:]))
        quaternion = entry["T_Device_Camera"]["UnitQuaternion"]  # w, then [x, y, z]
        to_device = _pose([*entry["T_Device_Camera"]["Translation"], *quaternion[1], quaternion[0]])
    if abs(lens.cx / (_RGB_NATIVE_SIZE / 2) - 1) < 0.1:
        lens = lens.cropped(_RGB_BORDER, _RGB_BORDER).scaled(0.5, 0.5)
    elif abs(lens.cx / (RGB_SIZE / 2) - 1) > 0.1:
        raise ValueError(
            f"{path}: the color camera's centre at column {lens.cx:.0f} belongs neither to {_RGB_NATIVE_SIZE} nor to "
            f"{RGB_SIZE} pixels."
        )
    return ColourCamera(lens, to_device)


def read_device_poses(path: Path, times_us: Sequence[int]) -> Tensor:
    """Read the glasses' poses at given times from a `closed_loop_trajectory.csv`.

    Args:
        path: the file.
        times_us: microseconds of the glasses' clock, rising.

    Returns:
        Glasses to world [N, 4, 4] float64, each the nearest in time.

    Raises:
        ValueError: if the file is no such table, or has no pose within 5 ms of a time.
    """
    first, last = times_us[0] - _LONGEST_GAP_US, times_us[-1] + _LONGEST_GAP_US
    near: list[tuple[int, list[float]]] = []
    with _table(path, (_TIME, *_WORLD_DEVICE)) as rows:
        for row in rows:
            time = int(row[_TIME])
            if time > last:
                break
            if time >= first:
                near.append((time, [float(row[key]) for key in _WORLD_DEVICE]))
    known = torch.tensor([time for time, _ in near])
    poses = []
    for time in times_us:
        away = (known - time).abs()
        if not len(near) or int(away.min()) > _LONGEST_GAP_US:
            raise ValueError(f"{path} has no pose within {_LONGEST_GAP_US // 1000} ms of {time} us. Start elsewhere.")
        poses.append(_pose(near[int(away.argmin())][1]))
    return torch.stack(poses)


def read_clock(path: Path, column: str, rows: Sequence[int]) -> list[int]:
    """Read the glasses' clock in nanoseconds from given rows, counted from 0, of a `timesync.csv`.

    Raises:
        ValueError: if the file has no such column or row, or a row holds no time.
    """
    wanted = set(rows)
    times: dict[int, int] = {}
    with _table(path, (column,)) as table:
        for number, row in enumerate(table):
            if number in wanted:
                if not row[column]:
                    raise ValueError(f"row {number} has no time for {column}: that frame was not recorded.")
                times[number] = round(float(row[column])) if "." in row[column] else int(row[column])
    missing = sorted(wanted - set(times))
    if missing:
        raise ValueError(f"{path} has no row {missing[0]}: it is shorter than the take. Copy it again.")
    return [times[row] for row in rows]


def _pose(numbers: Sequence[float]) -> Tensor:
    """Return the matrix [4, 4] of a translation x, y, z and a quaternion x, y, z, w of any length."""
    values = torch.tensor(list(numbers), dtype=torch.float64)
    if len(values) != 7 or not torch.isfinite(values).all() or not values[3:].any():
        raise ValueError(f"expected a translation and a quaternion, got {values.tolist()}.")
    x, y, z, w = torch.nn.functional.normalize(values[3:], dim=0)
    return rigid(quaternions_to_matrices(torch.stack([w, x, y, z])), values[:3])


@contextmanager
def _table(path: Path, columns: Sequence[str]) -> Iterator[Iterator[dict[str, str]]]:
    """Open a CSV file; gives its rows with names and values stripped of blanks."""
    with _explained(path, f"a table with {', '.join(columns)}"), path.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines)
        names = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if name not in names]
        if missing:
            raise ValueError(f"it lacks the columns {missing}.")
        yield ({name: value.strip() for name, value in zip(names, row)} for row in reader if row)


@contextmanager
def _explained(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever a foreign or torn file raises into one error that names it."""
    try:
        yield
    except _UNREADABLE as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be used; expected {expected}, but {sentence(what)} {COPY_AGAIN}") from error
