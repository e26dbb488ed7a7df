"""Keypoints of newer ComfyUI cores.

MHR_POSE_DATA is SAM 3D Body's, KIMODO_POSE_DATA that of rigs which Kimodo moves, FACE_LANDMARKS MediaPipe's. All are
dictionaries with `frames` (a list of people a frame) and `image_size` (height, width). They were written after the
sources of ComfyUI 0.38 and not run against it, so everything that is read is checked first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from ...common.messages import arrived
from ..cameras.rotations import shortest_turns
from .keypoints import HEAD_JOINTS, N_JOINTS, Joint, Keypoints, People
from .model import head_axes

# Places in MHR's 70 keypoints.
_MHR = {
    Joint.NOSE: 0,
    Joint.LEFT_EYE: 1,
    Joint.RIGHT_EYE: 2,
    Joint.LEFT_EAR: 3,
    Joint.RIGHT_EAR: 4,
    Joint.LEFT_SHOULDER: 5,
    Joint.RIGHT_SHOULDER: 6,
    Joint.LEFT_HIP: 9,
    Joint.RIGHT_HIP: 10,
    Joint.NECK: 69,
}
# Places in MediaPipe's 478 face points whose mean stands for a joint: tip of the nose, corners of the eyes.
_FACE = {Joint.NOSE: (1,), Joint.RIGHT_EYE: (33, 133), Joint.LEFT_EYE: (362, 263)}

# Places in OpenPose's 18 joints, to which a rig's own are mapped.
_OPENPOSE = {
    Joint.NOSE: 0,
    Joint.LEFT_EYE: 15,
    Joint.RIGHT_EYE: 14,
    Joint.LEFT_EAR: 17,
    Joint.RIGHT_EAR: 16,
    Joint.NECK: 1,
    Joint.LEFT_SHOULDER: 5,
    Joint.RIGHT_SHOULDER: 2,
    Joint.LEFT_HIP: 11,
    Joint.RIGHT_HIP: 8,
}
# Degrees: the vertical field of view that core's renderer takes for rigs that state no focal length.
_RIG_FOV = 50.0

# MediaPipe's face has x to the person's left, y up and z ahead; its camera x right, y up, and looks along -z.
_EGO_TO_FACE = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
_GL_TO_CV = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


def read_mhr(payload: Any) -> People:
    """Read MHR_POSE_DATA.

    Used of each person: `pred_keypoints_2d` [70, 2] in pixels, `pred_keypoints_3d` [70, 3] in metres in OpenCV axes
    before the translation `pred_cam_t` [3].

    Raises:
        ValueError: if something of that is missing or has another shape.
    """
    return _read(payload, "MHR_POSE_DATA", _mhr_person)


def read_kimodo(payload: Any) -> People:
    """Read KIMODO_POSE_DATA: a rig in motion, as core's renderer draws it.

    Used of it: in `_skeleton_override` `openpose18_joint_indices` [18, 2], the rig's joints (a, b) that stand for a
    joint of OpenPose (b = -1: a alone), with `openpose18_joint_weights` [18], how much of a (else half), and
    `per_frame_y_down`; of each person `pred_joint_coords` [J, 3] in metres, y up unless that says otherwise,
    `pred_cam_t` [3], and `focal_length` in pixels, where there is one.

    Raises:
        ValueError: if something of that is missing or has another shape.
    """
    kind = "KIMODO_POSE_DATA"
    rig = payload.get("_skeleton_override") if isinstance(payload, Mapping) else None
    if not isinstance(rig, Mapping):
        raise ValueError(f'Expected {kind} with a dictionary "_skeleton_override", got {arrived(payload)}.')
    pairs = _numbers(rig, "openpose18_joint_indices", (18, 2), kind).long()
    weights = torch.full((18,), 0.5, dtype=torch.float64)
    if rig.get("openpose18_joint_weights") is not None:
        weights = _numbers(rig, "openpose18_joint_weights", (18,), kind)
    weights = torch.where(pairs[:, 1] < 0, 1.0, weights)[:, None]
    turned = torch.ones(3, dtype=torch.float64) if rig.get("per_frame_y_down", True) else _GL_TO_CV.diagonal()

    def person(entry: Mapping[str, Any], where: str) -> Keypoints:
        joints = _numbers(entry, "pred_joint_coords", (None, 3), where) * turned
        if not bool((pairs[:, 0] >= 0).all()) or int(pairs.max()) >= len(joints):
            raise ValueError(f"{where} has {len(joints)} joints, and its rig's map names others.")
        ends = joints[pairs[:, 0]], joints[pairs[:, 1].clamp_min(0)]
        solid = (weights * ends[0] + (1 - weights) * ends[1])[[_OPENPOSE[joint] for joint in Joint]]
        solid = solid + _numbers(entry, "pred_cam_t", (3,), where)
        if not bool((solid[:, 2] > 0).all()):
            return Keypoints.none()
        focal = 0.5 * height / math.tan(math.radians(_RIG_FOV) / 2)
        if entry.get("focal_length") is not None:
            focal = float(torch.as_tensor(entry["focal_length"]).flatten()[0])
        pixels = solid[:, :2] / solid[:, 2:] * focal + torch.tensor([width / 2, height / 2], dtype=torch.float64)
        head = solid[list(HEAD_JOINTS)]
        ray = torch.nn.functional.normalize(head.mean(dim=0), dim=0)
        return Keypoints(
            pixels[None], torch.ones(1, N_JOINTS, dtype=torch.float64), _seen(head_axes(head[None])[0], ray)
        )

    height, width = _image_size(payload, kind)
    return _read(payload, kind, person)


def read_face_landmarks(payload: Any) -> People:
    """Read FACE_LANDMARKS.

    Used of each face: `landmarks_xy` [478, 2] in pixels, and `transformation_matrix` [4, 4], from MediaPipe's face
    (centimetres, y up, z ahead) to its camera (y up, looks along -z); filled-in faces have no matrix.

    Raises:
        ValueError: if something of that is missing or has another shape.
    """
    return _read(payload, "FACE_LANDMARKS", _face_person)


def _read(payload: Any, kind: str, person: Callable[[Mapping[str, Any], str], Keypoints]) -> People:
    if not isinstance(payload, Mapping) or not isinstance(payload.get("frames"), Sequence):
        raise ValueError(f'Expected {kind} as a dictionary with a list "frames", got {arrived(payload)}.')
    height, width = _image_size(payload, kind)
    frames = []
    for index, found in enumerate(payload["frames"]):
        cancel_point()
        where = f"frame {index} of {kind}"
        if not isinstance(found, Sequence) or not all(isinstance(entry, Mapping) for entry in found):
            raise ValueError(f"Expected {where} as a list of dictionaries, one a person.")
        frames.append(Keypoints.joined([Keypoints.none(), *(person(entry, where) for entry in found)]))
    return People(tuple(frames), width, height)


def _image_size(payload: Mapping[str, Any], kind: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in payload["image_size"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        given = arrived(payload.get("image_size"))
        raise ValueError(f'Expected "image_size" of {kind} as (height, width), got {given}.') from error
    return height, width


def _mhr_person(entry: Mapping[str, Any], where: str) -> Keypoints:
    flat = _numbers(entry, "pred_keypoints_2d", (70, 2), where)
    solid = _numbers(entry, "pred_keypoints_3d", (70, 3), where)
    place = _numbers(entry, "pred_cam_t", (3,), where)
    order = [_MHR[joint] for joint in Joint]
    head = solid[[_MHR[joint] for joint in HEAD_JOINTS]]
    ray = torch.nn.functional.normalize(head.mean(dim=0) + place, dim=0)
    return Keypoints(
        flat[order][None], torch.ones(1, N_JOINTS, dtype=torch.float64), _seen(head_axes(head[None])[0], ray)
    )


def _face_person(entry: Mapping[str, Any], where: str) -> Keypoints:
    points = _numbers(entry, "landmarks_xy", (None, 2), where)
    if len(points) < 468:
        raise ValueError(f"Expected at least 468 points of a face in {where}, got {len(points)}.")
    one = Keypoints.none(1)
    for joint, places in _FACE.items():
        one.pixels[0, joint], one.confidence[0, joint] = points[list(places)].mean(dim=0), 1.0
    if entry.get("transformation_matrix") is None:
        return one
    matrix = _numbers(entry, "transformation_matrix", (4, 4), where)
    ray = torch.nn.functional.normalize(_GL_TO_CV @ matrix[:3, 3], dim=0)
    left, _, right = torch.linalg.svd(_GL_TO_CV @ matrix[:3, :3] @ _EGO_TO_FACE)  # takes out the scale
    return Keypoints(one.pixels, one.confidence, _seen(left @ right, ray))


def _seen(rotation: Tensor, ray: Tensor) -> Tensor:
    """Return the head's axes [1, 3, 3] as a camera sees them that looks along the unit ray [3] to the head.

    These estimators assume a lens of their own. What they know of the head is how it looks from there.
    """
    ahead = ray.new_tensor([0, 0, 1])
    return (shortest_turns(ray, ahead) @ rotation)[None]


def _numbers(entry: Mapping[str, Any], key: str, shape: tuple[int | None, ...], where: str) -> Tensor:
    try:
        values = torch.as_tensor(entry[key]).detach().to("cpu", torch.float64)
    except KeyError as error:
        raise ValueError(f'{where}: "{key}" is missing; got {arrived(entry)}.') from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f'{where}: "{key}" is not an array of numbers but {arrived(entry[key])}.') from error
    if values.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, values.shape)):
        wanted = [size or "N" for size in shape]
        raise ValueError(f'{where}: expected "{key}" of the shape {wanted}, got {list(values.shape)}.')
    if not torch.isfinite(values).all():
        raise ValueError(f'{where}: "{key}" holds NaN or infinity.')
    return values
