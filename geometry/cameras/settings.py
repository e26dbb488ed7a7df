"""Cameras from the numbers an artist types, and back into a line of text."""

from __future__ import annotations

import json
import math

import torch
from torch import Tensor

from ...common.messages import arrived, with_advice
from ..lenses import Lens
from ..lenses.pinhole import Pinhole
from .camera import Camera
from .presets import OWN_NUMBERS, LensPreset, preset_lens
from .rotations import rigid


def camera_from_numbers(
    preset: LensPreset,
    width: int,
    height: int,
    *,
    fov_degrees: float = 60.0,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    yaw_pitch_roll: tuple[float, float, float] = (0.0, 0.0, 0.0),
    coefficients: str = "",
    matrices: str = "",
) -> Camera:
    """Make a camera from numbers.

    Args:
        preset: the lens; those of `OWN_NUMBERS` read `coefficients`.
        width: image width in pixels.
        height: image height in pixels.
        fov_degrees: horizontal field of view, for the pinhole.
        position: camera centre in the world, metres (x right, y down, z forward).
        yaw_pitch_roll: degrees to the right, up, and clockwise as the eye sees it.
        coefficients: the lens' numbers as text, in the order of its `number_names`. For `OWN`, focal, cx and cy
            alone are a pinhole.
        matrices: JSON text of one or several world-to-camera matrices; given, it replaces position and angles.

    Raises:
        ValueError: if a text is no list of numbers, or the pose is none.
    """
    own = preset in OWN_NUMBERS
    lens = _own_lens(preset, coefficients) if own else preset_lens(preset, width, height, fov_degrees)
    if not matrices.strip():
        return Camera(lens, width, height, pose_from_angles(position, yaw_pitch_roll))
    with with_advice("Correct the matrices, or empty the box and set position and angles."):
        return Camera(lens, width, height, _poses_from_text(matrices))


def pose_from_angles(position: tuple[float, float, float], yaw_pitch_roll: tuple[float, float, float]) -> Tensor:
    """Return the world-to-camera matrix [4, 4] of a camera at `position` (metres) turned by angles in degrees.

    The camera first looks along the world's z. Yaw turns it to the right about the world's y axis, pitch then up,
    roll then clockwise about its own axis.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in yaw_pitch_roll)
    rotation = _turn("y", yaw) @ _turn("x", pitch) @ _turn("z", roll)  # camera to world
    return rigid(rotation.T, -rotation.T @ torch.tensor(position, dtype=torch.float64))


def describe_camera(camera: Camera) -> str:
    """Say in one line what a camera is: lens, size, field of view and poses."""
    middle = torch.tensor([[0.0, camera.height / 2], [camera.width, camera.height / 2]], dtype=torch.float64)
    left, right = camera.lens.unproject(middle)
    fov = math.degrees(math.acos(float((left @ right).clamp(-1, 1))))
    if camera.is_fixed:
        x, y, z = (round(value, 2) + 0.0 for value in camera.centers[0].tolist())  # + 0.0: not "-0.00"
        poses = f"fixed at ({x:.2f}, {y:.2f}, {z:.2f}) m"
    else:
        path = torch.linalg.vector_norm(camera.centers.diff(dim=0), dim=-1).sum()
        poses = f"{camera.n_frames} poses, path of {float(path):.2f} m"
    return f"{type(camera.lens).__name__} {camera.width} x {camera.height}, {fov:.0f} degrees across; {poses}"


def _turn(axis: str, angle: float) -> Tensor:
    """Return the right-handed rotation [3, 3] about an axis.

    With y down, a positive turn about y goes right; about x, up; about z, clockwise as the eye sees it.
    """
    c, s = math.cos(angle), math.sin(angle)
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return torch.tensor(rows[axis], dtype=torch.float64)


def _own_lens(preset: LensPreset, text: str) -> Lens:
    numbers = []
    for word in text.replace(",", " ").split():
        try:
            numbers.append(float(word))
        except ValueError as error:
            raise ValueError(
                f"The lens' coefficients must be numbers, got {arrived(word)} among them. Write numbers alone."
            ) from error
    if preset is LensPreset.OWN and len(numbers) == 3:
        focal, cx, cy = numbers
        return Pinhole(focal, focal, cx, cy)
    return OWN_NUMBERS[preset].from_row(numbers)


def _poses_from_text(text: str) -> Tensor:
    example = "[[1,0,0,0],[0,1,0,0],[0,0,1,0]], or a list of them with one a frame"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Matrices are JSON text such as {example}; got {arrived(text)}.") from error
    try:
        return torch.tensor(content, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"Matrices are rows of numbers such as {example}; got {arrived(content)} with rows of different lengths, "
            "or with something else than numbers."
        ) from error
