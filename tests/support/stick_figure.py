"""A stick figure before a camera, with nothing of the code under test: joints by hand, a pinhole, painted depth.

Axes of the world: x right, y up, z away from the camera, which stands in the origin and is bent down. The figure is
made of rods, whose fronts are painted into the depth as discs, on a floor and before a wall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, FOCAL = 392, 224, 380.0
CAMERA_HEIGHT, WALL = 1.6, 9.0

# OpenPose's 18 joints in the figure's own axes: x to its left, y up from the floor, z ahead; metres.
_BODY = {
    1: (0.0, 1.43, 0.0),
    2: (-0.18, 1.43, 0.0),
    5: (0.18, 1.43, 0.0),
    8: (-0.10, 0.92, 0.0),
    11: (0.10, 0.92, 0.0),
    9: (-0.11, 0.50, 0.04),
    12: (0.11, 0.50, 0.04),
    10: (-0.11, 0.08, 0.0),
    13: (0.11, 0.08, 0.0),
}
_HANGING = {3: (-0.22, 1.13, -0.02), 4: (-0.22, 0.88, 0.04), 6: (0.22, 1.13, -0.02), 7: (0.22, 0.88, 0.04)}
_WORKING = {3: (-0.24, 1.16, 0.08), 4: (-0.08, 1.13, 0.29), 6: (0.24, 1.16, 0.08), 7: (0.08, 1.13, 0.29)}
# About the point between the eyes, which is so far above and ahead of the neck.
_EYES = (0.0, 0.23, 0.09)
_FACE = {
    0: (0, -0.042, 0.03),
    14: (-0.032, 0, 0),
    15: (0.032, 0, 0),
    16: (-0.073, -0.02, -0.097),
    17: (0.073, -0.02, -0.097),
}
_BONES = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (2, 8), (5, 11), (8, 11), (8, 9), (9, 10), (11, 12), (12, 13))


@dataclass(frozen=True)
class Clip:
    """Frames of a figure.

    Attributes:
        keypoints: POSE_KEYPOINT.
        depth: [F, H, W] float32, metres.
        eyes: [F, 3] in the camera's axes (x right, y down, z ahead), metres.
        facing: where the face looks [F, 3], in the same axes.
        down: [3] in the same axes.
    """

    keypoints: list[dict]
    depth: np.ndarray
    eyes: np.ndarray
    facing: np.ndarray
    down: np.ndarray


def film(
    places: list[tuple[float, float]],
    yaw: float,
    *,
    head_yaw: float | None = None,
    head_down: float = 0.0,
    lean: float = 0.0,
    working: bool = False,
    made_up: bool = False,
    camera_down: float = 10.0,
    noise: float = 0.5,
    seed: int = 0,
) -> Clip:
    """Film a figure.

    Args:
        places: (x, z) on the floor in every frame, metres.
        yaw: where the trunk faces: 0 is away from the camera, 90 to the right, 180 towards it; degrees.
        head_yaw: likewise of the head; by default the trunk's.
        head_down: how far the face is bent down, degrees.
        lean: how far the trunk is bent forward from the hips, degrees.
        working: hands before the chest; else they hang.
        made_up: whether the detector marks a face towards the camera, wherever the head looks.
        camera_down: how far the camera is bent down, degrees.
        noise: of joints, pixels.
        seed: of the noise.
    """
    chance = np.random.default_rng(seed)
    to_camera = _about_x(math.radians(camera_down)) @ np.diag([1.0, -1.0, 1.0])
    head_yaw = yaw if head_yaw is None else head_yaw
    trunk, head = _about_y(yaw), _about_y(head_yaw) @ _bent(head_down)
    frames, depths, all_eyes, looks = [], [], [], []
    for x, z in places:
        joints = {name: _leaned(place, lean) for name, place in (_BODY | (_WORKING if working else _HANGING)).items()}
        world = {name: trunk @ place for name, place in joints.items()}
        eyes = world[1] + np.array([0, _EYES[1], 0]) + _EYES[2] * head @ np.array([0, 0, 1.0])
        center = eyes + head @ np.array([0, -0.01, -0.09])
        turned = _about_y(180) if made_up else head
        world |= {
            name: (center + turned @ np.array([0, 0.01, 0.09]) if made_up else eyes) + turned @ np.array(place)
            for name, place in _FACE.items()
        }
        floor = np.array([x, -CAMERA_HEIGHT, z])
        solid = {name: to_camera @ (place + floor) for name, place in world.items()}
        depth = _room(to_camera)
        for a, b in _BONES:
            _paint(depth, solid[a], solid[b], 0.06 if min(a, b) > 2 else 0.08)
        _paint(depth, to_camera @ (center + floor), to_camera @ (center + floor), 0.10)
        flat = [0.0] * 54
        for name, place in solid.items():
            pixel = _pixel(place) + noise * chance.standard_normal(2)
            flat[3 * name : 3 * name + 3] = [float(pixel[0]), float(pixel[1]), 0.95]
        people = [{"pose_keypoints_2d": flat}]
        frames.append({"people": people, "canvas_width": WIDTH, "canvas_height": HEIGHT})
        depths.append(depth)
        all_eyes.append(to_camera @ (eyes + floor))
        looks.append(to_camera @ head @ np.array([0, 0, 1.0]))
    down = to_camera @ np.array([0, -1.0, 0])
    return Clip(frames, np.stack(depths).astype(np.float32), np.stack(all_eyes), np.stack(looks), down)


def _about_x(angle: float) -> np.ndarray:
    """A camera bent down, in axes with y down."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(degrees: float) -> np.ndarray:
    """From the figure's axes (x to its left) to the world's."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[-c, 0, s], [0, 1, 0], [s, 0, c]])


def _bent(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _leaned(place: tuple[float, float, float], degrees: float) -> np.ndarray:
    x, y, z = place
    if y < 0.93:
        return np.array(place)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([x, 0.92 + c * (y - 0.92) - s * z, s * (y - 0.92) + c * z])


def _pixel(place: np.ndarray) -> np.ndarray:
    return np.array([WIDTH / 2, HEIGHT / 2]) + FOCAL * place[:2] / place[2]


def _room(to_camera: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    rays = np.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, np.ones_like(rows)], axis=-1)
    world = rays @ to_camera  # the inverse of a rotation is its transpose
    floor = np.where(world[..., 1] < -1e-6, -CAMERA_HEIGHT / np.minimum(world[..., 1], -1e-6), np.inf)
    return np.minimum(floor, WALL / np.maximum(world[..., 2], 1e-6))


def _paint(depth: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    for share in np.linspace(0, 1, 12 if (start != end).any() else 1):
        place = start + share * (end - start)
        pixel, wide = _pixel(place), FOCAL * radius / place[2]
        off = ((columns - pixel[0]) ** 2 + (rows - pixel[1]) ** 2) / wide**2
        front = place[2] - radius * np.sqrt(np.clip(1 - off, 0, 1))
        np.copyto(depth, np.minimum(depth, front), where=off <= 1)
