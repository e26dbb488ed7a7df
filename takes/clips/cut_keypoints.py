"""POSE_KEYPOINT of a whole clip, brought to a part of it: as `geometry/head/openpose` describes the format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...geometry.head.openpose import canvas_of, frame_with_people
from .cut import Cut

# Lists of x, y and confidence.
_LISTS = (
    "pose_keypoints_2d",
    "face_keypoints_2d",
    "hand_left_keypoints_2d",
    "hand_right_keypoints_2d",
    "foot_keypoints_2d",
)
# Coordinates of 0 to 1 may lie a little outside; no picture has people within two pixels.
_LARGEST_SHARE = 2.0


def keypoints_through(cut: Cut, frames: Sequence[Any]) -> list[dict[str, Any]]:
    """Bring keypoints of the whole clip to the pictures of a cut.

    Args:
        cut: what was done to the clip.
        frames: POSE_KEYPOINT, one dictionary for each frame of the whole clip, in pixels of its canvas, which may have
            any size, or as shares of it. Joints that were not found stay so.

    Returns:
        One dictionary a frame of the cut, in pixels of its picture.

    Raises:
        ValueError: if it is something else, there are not as many frames as the clip has, or a canvas has another
            shape than the clip.
    """
    kept = cut.in_time(list(frames), "frames of keypoints")
    kept = [frame_with_people(frame, number) for number, frame in zip(cut.frames, kept)]
    shares = _are_shares(kept)
    result = []
    for number, frame in zip(cut.frames, kept):
        cancel_point()
        canvas = _canvas(frame, number)
        people = [_person(cut, person, canvas, shares) for person in frame["people"]]
        result.append({**frame, "people": people, "canvas_width": cut.size[0], "canvas_height": cut.size[1]})
    return result


def _canvas(frame: Mapping[str, Any], number: int) -> tuple[int, int]:
    canvas = canvas_of(frame)
    if canvas is None:
        raise ValueError(
            f"Frame {number} of the keypoints does not state its image's size (canvas_width, canvas_height). Give the "
            "size, or use files that hold it, as DWPose saves them."
        )
    return canvas


def _person(cut: Cut, person: Any, canvas: tuple[int, int], shares: bool) -> Any:
    if not isinstance(person, Mapping):
        return person  # the reader says what is wrong with it
    moved = dict(person)
    for name, points in _points_of(person):
        scale = torch.tensor(canvas if shares else (1, 1), dtype=torch.float64)
        places = cut.points(points[:, :2] * scale, canvas, "keypoints' canvas")
        found = _found(points)
        rows = torch.where(found[:, None], torch.cat([places, points[:, 2:]], dim=1), 0.0)
        moved[name] = rows.flatten().tolist()
    return moved


def _points_of(person: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Give the lists of a person as [N, 3]; what is no list of triples is left to the reader, which names it."""
    for name in _LISTS:
        numbers = person.get(name)
        try:
            if numbers is None or not len(numbers) or len(numbers) % 3:
                continue
            values = [math.nan if value is None else float(value) for value in numbers]
        except (TypeError, ValueError, OverflowError):
            continue
        yield name, torch.tensor(values, dtype=torch.float64).view(-1, 3)


def _found(points: Tensor) -> Tensor:
    return torch.isfinite(points).all(dim=-1) & (points[:, 2] > 0) & ~(points[:, :2] <= 0).all(dim=-1)


def _are_shares(frames: Sequence[Mapping[str, Any]]) -> bool:
    largest = 0.0
    for frame in frames:
        for person in frame["people"]:
            for _, points in _points_of(person) if isinstance(person, Mapping) else ():
                if bool((found := _found(points)).any()):
                    largest = max(largest, float(points[found][:, :2].abs().max()))
    return 0 < largest <= _LARGEST_SHARE
