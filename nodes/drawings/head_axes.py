"""The ego camera's axes and the keypoints drawn over the exo images."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.memory import FLOAT, require_memory
from ...geometry.cameras.camera import Camera
from ...geometry.head.keypoints import Keypoints
from .contact_sheet import as_tensor

_AXES = ((230, 60, 60), (60, 200, 80), (70, 130, 255))  # x right, y down, z ahead
_AXIS_LENGTH = (0.10, 0.10, 0.25)  # metres
_JOINT, _FILLED = (255, 220, 60), (255, 150, 40)
_FILLED_TEXT = "filled from neighbours"
_LARGEST_WIDTH = 784  # pixels: larger pictures are made smaller first


def draw_heads(
    frames: Tensor, exo_camera: Camera, ego_camera: Camera, keypoints: Keypoints, filled_frames: Collection[int]
) -> Tensor:
    """Draw where the ego camera is and looks, and the joints it was found from.

    Args:
        frames: the exo clip [F, H, W, 3] in [0, 1].
        exo_camera: its camera, of any size of the same shape.
        ego_camera: F poses. Red is right, green down, blue ahead.
        keypoints: F frames, in the exo camera's pixels.
        filled_frames: frames that get a mark, as they were filled from their neighbours.

    Returns:
        [F, h, w, 3] in [0, 1], at most 784 pixels wide.
    """
    height, width = frames.shape[1:3]
    wide, high = drawn_size(width, height)
    require_memory(
        3 * FLOAT * (len(frames) + 1) * wide * high, f"A preview of {len(frames)} frames", "Give fewer frames."
    )
    scale = torch.tensor([wide / exo_camera.width, high / exo_camera.height], dtype=torch.float64)
    tips = torch.diag(torch.tensor(_AXIS_LENGTH, dtype=torch.float64))
    drawn = torch.empty(len(frames), high, wide, 3)
    for index, frame in enumerate(frames):
        cancel_point()
        if (wide, high) != (width, height):
            frame = torch.nn.functional.interpolate(frame.movedim(-1, 0)[None], (high, wide), mode="area")[0]
            frame = frame.movedim(0, -1)
        axes = ego_camera.camera_to_world[index]
        points = torch.cat([torch.zeros(1, 3, dtype=torch.float64), tips]) @ axes[:3, :3].T + axes[:3, 3]
        pixels, _, seen = exo_camera.project(points, index)
        joints = keypoints.pixels[index][keypoints.seen[index]] * scale
        lines = (pixels * scale).tolist() if bool(seen.all()) else []
        drawn[index] = _drawn(frame, lines, joints.tolist(), index in filled_frames)
    return drawn


def drawn_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which frames of a size are drawn on."""
    if width <= _LARGEST_WIDTH:
        return width, height
    return _LARGEST_WIDTH, max(1, round(height * _LARGEST_WIDTH / width))


def _drawn(
    frame: Tensor, lines: Sequence[Sequence[float]], joints: Sequence[Sequence[float]], is_filled: bool
) -> Tensor:
    """Draw lines from the first point to each other one, joints, and a mark on one frame [H, W, 3]."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(frame[..., :3].mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())
    draw = ImageDraw.Draw(picture)
    thick = max(2, picture.width // 250)
    for x, y in joints:
        draw.ellipse([x - thick, y - thick, x + thick, y + thick], outline=_JOINT, width=max(1, thick // 2))
    for end, color in zip(lines[1:], _AXES):
        draw.line([*lines[0], *end], fill=color, width=thick)
    if is_filled:
        font = ImageFont.load_default(max(10, picture.width // 40))
        place = (2 * thick, thick)
        draw.rectangle(draw.textbbox(place, _FILLED_TEXT, font=font), fill=(0, 0, 0))
        draw.text(place, _FILLED_TEXT, fill=_FILLED, font=font)
    return as_tensor(picture)[0]
