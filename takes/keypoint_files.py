"""Keypoints saved as OpenPose JSON, and those of the example figure.

A file holds a list of frames, as DWPose's nodes save it, or one frame, as OpenPose saves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.messages import sentence
from ..geometry.head.openpose import openpose_frames, read_openpose
from .camera_formats.read import RELEASE_EXO_SIZE
from .example.keypoints import example_keypoints
from .example.room import ExampleRoom
from .files import load_json


def read_keypoints(
    files: Sequence[Path], *, max_frames: int, width: int = 0, height: int = 0
) -> list[Mapping[str, Any]]:
    """Read keypoints as POSE_KEYPOINT.

    Args:
        files: a file with all frames, or one a frame, in order.
        max_frames: frames to read from the start.
        width: size of the picture in pixels, for files that do not tell it, as OpenPose's own; 0: the file tells.
        height: likewise.

    Raises:
        ValueError: if a file is torn or holds something else, or the picture's size is missing.
    """
    frames: list[Mapping[str, Any]] = []
    for path in files:
        content = load_json(path)
        frames += content if isinstance(content, list) else [content]
        if len(frames) >= max_frames:
            break
    frames = frames[:max_frames]
    size = (width, height) if width and height else None
    try:
        people = read_openpose(frames, size)
    except ValueError as error:
        name = files[0].name if len(files) == 1 else files[0].parent.name
        advice = "Run the pose estimator again, or choose another file."
        raise ValueError(f"{name}: {sentence(str(error))} {advice}") from error
    canvas = {"canvas_width": people.width, "canvas_height": people.height}
    return [{**canvas, **_of_one(frame)} for frame in frames]


def example_frames(*, max_frames: int, **_: Any) -> list[Mapping[str, Any]]:
    """Return the keypoints of the example room's figure as POSE_KEYPOINT, in pictures of the room's own size."""
    room = ExampleRoom(max_frames)
    camera = room.exo_camera(*RELEASE_EXO_SIZE)
    return openpose_frames(example_keypoints(room, camera), camera.width, camera.height)


def _of_one(frame: Any) -> Mapping[str, Any]:
    return frame[0] if isinstance(frame, list) else frame
