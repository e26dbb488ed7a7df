"""POSE_KEYPOINT: OpenPose's JSON, as DWPose and OpenPose nodes, SDPose and OpenPose itself give it.

One dictionary a frame: `people`, each with `pose_keypoints_2d` (x, y, confidence of 18 or 25 body joints, flat) and, if
the estimator saw one, `face_keypoints_2d` (70 points); `canvas_width` and `canvas_height`. Coordinates are pixels, or
0 to 1 in some versions of the DWPose pack. (Format: OpenPose's doc/02_output.md and 03_python_api.md.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.messages import arrived
from .keypoints import N_JOINTS, N_LIMBS, Joint, Keypoints, Limb, People

# Index of each joint of ours in OpenPose's two body models.
_COCO_18 = {
    Joint.NOSE: 0,
    Joint.NECK: 1,
    Joint.RIGHT_SHOULDER: 2,
    Joint.LEFT_SHOULDER: 5,
    Joint.RIGHT_HIP: 8,
    Joint.LEFT_HIP: 11,
    Joint.RIGHT_EYE: 14,
    Joint.LEFT_EYE: 15,
    Joint.RIGHT_EAR: 16,
    Joint.LEFT_EAR: 17,
}
_BODY_25 = {**_COCO_18, Joint.RIGHT_HIP: 9, Joint.LEFT_HIP: 12} | {
    Joint.RIGHT_EYE: 15,
    Joint.LEFT_EYE: 16,
    Joint.RIGHT_EAR: 17,
    Joint.LEFT_EAR: 18,
}
_BODIES = {18: _COCO_18, 25: _BODY_25}
_LIMBS_18 = {
    Limb.RIGHT_ELBOW: 3,
    Limb.RIGHT_WRIST: 4,
    Limb.LEFT_ELBOW: 6,
    Limb.LEFT_WRIST: 7,
    Limb.RIGHT_KNEE: 9,
    Limb.RIGHT_ANKLE: 10,
    Limb.LEFT_KNEE: 12,
    Limb.LEFT_ANKLE: 13,
}
# The body of 25 has a joint between the hips, which moves the legs by one.
_LIMBS_25 = {limb: place + (limb >= Limb.LEFT_KNEE) for limb, place in _LIMBS_18.items()}
_LIMBS = {18: _LIMBS_18, 25: _LIMBS_25}

# Points of the 70 of a face (68 of the iBUG scheme and two pupils) whose mean stands for a joint.
_FACE_POINTS = {Joint.NOSE: (30,), Joint.RIGHT_EYE: tuple(range(36, 42)), Joint.LEFT_EYE: tuple(range(42, 48))}

# Points of a hand, which stand for its wrist where there are some.
_HANDS = {Limb.LEFT_WRIST: "hand_left_keypoints_2d", Limb.RIGHT_WRIST: "hand_right_keypoints_2d"}

# Below this confidence a joint is a guess.
_LEAST_CONFIDENCE = 0.1
# A point of a face or hand says more than a body joint from this confidence on.
_SURE_POINT = 0.3
# Coordinates of 0 to 1 may lie a little outside; no picture has people within two pixels.
_LARGEST_SHARE = 2.0

# Pixels; no image is as large.
_FARTHEST = 1_000_000

Size = tuple[int, int]


def read_openpose(payload: Any, size: Size | None = None) -> People:
    """Read POSE_KEYPOINT.

    Args:
        payload: the frames: a sequence of dictionaries, or a single one.
        size: width and height of the picture, for frames that do not tell.

    Returns:
        The people of every frame.

    Raises:
        ValueError: if it is something else, the number of joints is unknown, or the picture's size is.
    """
    if isinstance(payload, Mapping):
        payload = [payload]
    if not isinstance(payload, Sequence) or isinstance(payload, str | bytes) or not payload:
        raise ValueError(
            f"Expected OpenPose keypoints as one dictionary a frame, got {arrived(payload)}. Connect POSE_KEYPOINT of "
            "a DWPose, OpenPose or SDPose node."
        )
    frames = [frame_with_people(frame, index) for index, frame in enumerate(payload)]
    raw = [_people(frame, index) for index, frame in enumerate(frames)]  # per frame: numbers [P, J + L, 3]
    sizes = {found for frame in frames if (found := canvas_of(frame))} or ({size} if size else set())
    if len(sizes) > 1:
        raise ValueError(f"The frames' canvas sizes differ: {sorted(sizes)}. Take all keypoints from one clip.")
    if not sizes:
        raise ValueError(
            "The keypoints do not state their image's size (canvas_width, canvas_height). Give the size, or use files "
            "that hold it, as DWPose saves them."
        )
    width, height = sizes.pop()
    everything = torch.cat(raw)
    known = everything[everything[..., 2] > 0]  # joints, and limbs after them
    if len(known) and float(known[:, :2].abs().max()) <= _LARGEST_SHARE:
        scale = torch.tensor([width, height, 1], dtype=torch.float64)
        raw = [numbers * scale for numbers in raw]
    return People(tuple(_keypoints(numbers) for numbers in raw), width, height)


def openpose_frames(keypoints: Keypoints, width: int, height: int) -> list[dict[str, Any]]:
    """Write one person over a clip as POSE_KEYPOINT, with the body of 18 joints."""
    frames = []
    for pixels, confidence, limbs in zip(keypoints.pixels, keypoints.confidence, keypoints.limbs):
        numbers = torch.zeros(len(_COCO_18) + len(_LIMBS_18), 3, dtype=torch.float64)
        for limb, index in _LIMBS_18.items():
            numbers[index] = limbs[limb] * (limbs[limb, 2] > 0)
        for joint, index in _COCO_18.items():
            if confidence[joint] > 0:
                numbers[index] = torch.cat([pixels[joint], confidence[joint : joint + 1]])
        people = [{"pose_keypoints_2d": numbers.flatten().tolist()}] if bool((confidence > 0).any()) else []
        frames.append({"people": people, "canvas_width": width, "canvas_height": height})
    return frames


def frame_with_people(frame: Any, index: int) -> Mapping[str, Any]:
    """Return a frame of POSE_KEYPOINT as its dictionary.

    Raises:
        ValueError: if it is something else.
    """
    if isinstance(frame, Sequence) and len(frame) == 1:  # a batch of one, as some nodes wrap it
        frame = frame[0]
    if not isinstance(frame, Mapping) or not isinstance(frame.get("people"), Sequence):
        raise ValueError(f'Expected frame {index} as a dictionary with a list "people", got {arrived(frame)}.')
    return frame


def canvas_of(frame: Mapping[str, Any]) -> Size | None:
    """Return width and height in pixels of what a frame's coordinates belong to; None where it does not say."""
    try:
        width, height = int(frame["canvas_width"]), int(frame["canvas_height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (width, height) if 0 < width <= _FARTHEST and 0 < height <= _FARTHEST else None


def _people(frame: Mapping[str, Any], index: int) -> Tensor:
    """Return column, row and confidence of our joints and limbs [P, J + L, 3]; confidence 0 where not found."""
    found = []
    for person in frame["people"]:
        cancel_point()
        if (numbers := _person(person, index)) is not None:
            found.append(numbers)
    return torch.stack(found) if found else torch.zeros(0, N_JOINTS + N_LIMBS, 3, dtype=torch.float64)


def _person(person: Any, index: int) -> Tensor | None:
    if not isinstance(person, Mapping):
        raise ValueError(
            f"Expected every person of the keypoints' frame {index} as a dictionary, got {arrived(person)}."
        )
    body = _triples(person.get("pose_keypoints_2d"), index)
    face = _triples(person.get("face_keypoints_2d"), index)
    if body is not None and len(body) not in _BODIES:
        raise ValueError(
            f"A person of frame {index} has {len(body)} body joints; expected {' or '.join(map(str, _BODIES))} "
            "(OpenPose's COCO and BODY_25)."
        )
    numbers = torch.zeros(N_JOINTS + N_LIMBS, 3, dtype=torch.float64)
    if body is not None:
        for joint, place in _BODIES[len(body)].items():
            numbers[joint] = body[place]
        for limb, place in _LIMBS[len(body)].items():
            numbers[N_JOINTS + limb] = body[place]
    if face is not None and len(face) >= 68:
        for joint, places in _FACE_POINTS.items():
            points = face[list(places)]
            if float(points[:, 2].min()) >= _SURE_POINT:
                numbers[joint] = points.mean(dim=0)
    for limb, name in _HANDS.items():
        hand = _triples(person.get(name), index)
        if hand is not None and bool((hand[:, 2] >= _SURE_POINT).any()):
            # Hands lie before wrists, and work where people look.
            numbers[N_JOINTS + limb] = hand[hand[:, 2] >= _SURE_POINT].mean(dim=0)
    return numbers if bool((numbers[:N_JOINTS, 2] > 0).any()) else None


def _triples(numbers: Any, index: int) -> Tensor | None:
    """Return [N, 3] of a flat list; confidence 0 where a point was not found, `None` where there is no list."""
    try:
        if numbers is None or len(numbers) == 0:
            return None
        values = torch.tensor([math.nan if value is None else float(value) for value in numbers], dtype=torch.float64)
        given = torch.tensor([value is not None for value in numbers])
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(
            f"The keypoints of frame {index} are not a list of numbers (x, y, confidence) but {arrived(numbers)}."
        ) from error
    if bool((given & ~(values.abs() <= _FARTHEST)).any()):
        raise ValueError(
            f"The keypoints of frame {index} hold NaN, infinity or numbers beyond {_FARTHEST:,}. Run the pose "
            "estimator again, or give 0 or null for joints that it did not find."
        )
    if len(values) % 3:
        raise ValueError(f"The keypoints of frame {index} are not triples: {len(values)} numbers.")
    points = values.view(-1, 3)
    found = torch.isfinite(points).all(dim=-1) & (points[:, 2] >= _LEAST_CONFIDENCE)
    found &= ~(points[:, :2] <= 0).all(dim=-1)  # (0, 0) or (-1, -1) stands for "not found"
    points = points.nan_to_num(0.0)
    points[:, 2] = torch.where(found, points[:, 2].clamp(max=1), 0.0)
    return points


def _keypoints(numbers: Tensor) -> Keypoints:
    rotations = torch.full((len(numbers), 3, 3), torch.nan, dtype=torch.float64)
    joints, limbs = numbers[:, :N_JOINTS], numbers[:, N_JOINTS:]
    return Keypoints(joints[..., :2].contiguous(), joints[..., 2].contiguous(), rotations, limbs.contiguous())
