"""Nuke's `.chan`: a camera's way as plain numbers, one line a frame, without any header.

    frame  tx ty tz  rx ry rz  fov

Translation in metres in a world with y up (ours turned half around x: (x, -y, -z)); the camera looks along its own -z.
Rotation in degrees in Nuke's own order ZXY: about z first, then x, then y, which is Ry Rx Rz for column vectors. Choose
"ZXY" wherever a program asks for the rotation order. `fov` is the vertical field of view in degrees. Frames count from
1, as Nuke's do.

The format holds neither the picture's size nor any lens but a centred pinhole with square pixels.
"""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...common.messages import arrived, sentence
from ...geometry.cameras.camera import Camera
from ...geometry.cameras.field_of_view import lens_of_fov, lost_without_lens, vertical_fov
from ...geometry.cameras.rotations import rigid, y_up_swapped
from ..files import EXPORT_AGAIN, read_whole

# Nuke's ZXY in scipy's words: turned about the camera's own y first, then x, then z. And where x, y, z stand in it, or
# where y, x, z stand in x, y, z.
_ORDER, _TO_ORDER = "YXZ", [1, 0, 2]
_COLUMNS = "frame, tx, ty, tz, rx, ry, rz, vertical field of view"
_LARGEST_FILE = 64 * 2**20  # bytes: a day at 30 frames a second
_FOV_TOLERANCE = 1e-3  # degrees: a zoom changes more


def chan_text(camera: Camera) -> str:
    """Return a camera as the text of a `.chan` file.

    Raises:
        ValueError: if the lens is more than the format can hold.
    """
    lost = lost_without_lens(camera)
    if lost:
        raise ValueError(
            f"A .chan file holds the field of view of a centred pinhole and nothing else of a lens: {lost}. Set a "
            "pinhole lens in the camera editor, or choose JSON (any lens) or glTF (which says so in the file)."
        )
    poses = y_up_swapped(camera.camera_to_world)
    angles = np.unwrap(_angles(poses[:, :3, :3]), axis=0, period=360)  # no jump from 180 to -180
    fov = vertical_fov(camera)
    lines = [
        " ".join(f"{value:.12f}" for value in (*position, *turn, fov))
        for position, turn in zip(poses[:, :3, 3].tolist(), angles.tolist())
    ]
    return "".join(f"{number} {line}\n" for number, line in enumerate(lines, start=1))


def read_chan(path: str | os.PathLike[str], width: int, height: int) -> Camera:
    """Read a `.chan` file as the camera of a picture of `width` x `height` pixels.

    Raises:
        ValueError: if the file is missing, or is no table of 8 numbers a line, frames are missing or doubled, or the
            field of view changes.
    """
    path = Path(path)
    rows = []
    text = read_whole(path, _LARGEST_FILE).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            rows.append(_row(line, f"line {number} of {path}"))
    if not rows:
        raise ValueError(f"{path} is empty. Export it again.")
    table = torch.tensor(rows, dtype=torch.float64)  # [F, 8]
    frames, fov = table[:, 0], table[:, 7]
    if (frames.diff() != 1).any():
        first = int((frames.diff() != 1).nonzero()[0, 0])
        raise ValueError(
            f"{path} goes from frame {frames[first]:g} to {frames[first + 1]:g}. Export every frame once, in order."
        )
    if float(fov.max() - fov.min()) > _FOV_TOLERANCE:
        raise ValueError(
            f"The field of view of {path} goes from {float(fov.min()):.3f} to {float(fov.max()):.3f} degrees. A camera "
            "here has one lens: export without the zoom."
        )
    try:
        poses = rigid(_rotations(table[:, 4:7]), table[:, 1:4])
        lens = lens_of_fov(float(fov[0]), width, height)
        return Camera(lens, width, height, torch.linalg.inv(y_up_swapped(poses)))
    except ValueError as error:
        raise ValueError(f"{path}: {sentence(str(error))} {EXPORT_AGAIN}") from error


def _row(line: str, where: str) -> list[float]:
    words = line.split()
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise ValueError(
            f"Expected numbers in {where} ({_COLUMNS}), got {arrived(line.strip())}. {EXPORT_AGAIN}"
        ) from error
    if len(values) != 8:
        raise ValueError(
            f"Expected 8 numbers in {where} ({_COLUMNS}), got {len(values)}. Export a camera: other objects have no "
            "field of view."
        )
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"Expected finite numbers in {where}, got {line.strip():.80}. {EXPORT_AGAIN}")
    return values


def _rotations(angles: Tensor) -> Tensor:
    """Return Ry Rx Rz [F, 3, 3] of angles about x, y, z [F, 3] in degrees."""
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.from_euler(_ORDER, angles.numpy()[:, _TO_ORDER], degrees=True).as_matrix())


def _angles(rotations: Tensor) -> np.ndarray:
    """Return the angles about x, y, z [F, 3] in degrees with Ry Rx Rz = `rotations` [F, 3, 3].

    Straight up or down only y minus or plus z is known: z counts as 0 then.
    """
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock", UserWarning)
        return Rotation.from_matrix(rotations.numpy()).as_euler(_ORDER, degrees=True)[:, _TO_ORDER]
