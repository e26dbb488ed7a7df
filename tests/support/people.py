"""Synthetic people whose heads' poses are known: solid figures before a camera, joints as an estimator marks them.

The head's measures differ from those of `geometry.head_model` on purpose: nobody is the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.rotations import vectors_to_matrices
from exo2ego.geometry.head.keypoints import HEAD_JOINTS, N_JOINTS, Joint, Keypoints
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.rooms.paints import Plain
from exo2ego.takes.rooms.ray_caster import Rays, trace
from exo2ego.takes.rooms.shapes import Ball, Box, Capsule, Shape, axes_along

WIDTH, HEIGHT, FOV = 392, 224, 60.0
_NOISE_WIDTH = 784  # the pixels in which noise is told

# Metres about the point between the eyes: a somewhat larger head than the mean, not quite symmetric.
_HEAD = {
    Joint.NOSE: (0.002, 0.047, 0.027),
    Joint.LEFT_EYE: (-0.034, 0.001, -0.001),
    Joint.RIGHT_EYE: (0.033, 0.0, 0.001),
    Joint.LEFT_EAR: (-0.078, 0.025, -0.103),
    Joint.RIGHT_EAR: (0.076, 0.017, -0.099),
}
# Metres about the middle between the shoulders, in the trunk's axes.
_TRUNK = {
    Joint.NECK: (0.0, 0.0, 0.0),
    Joint.LEFT_SHOULDER: (-0.18, 0.0, 0.0),
    Joint.RIGHT_SHOULDER: (0.18, 0.0, 0.0),
    Joint.LEFT_HIP: (-0.10, 0.48, 0.0),
    Joint.RIGHT_HIP: (0.10, 0.48, 0.0),
}
_HIDDEN = 0.07  # metres behind the surface from which a joint of the head is not found
_PAINT = Plain((0.7, 0.6, 0.5))


@dataclass(frozen=True, eq=False)
class Person:
    """A clip of one person.

    Attributes:
        camera: the exo camera, which is the world.
        keypoints: the joints as an estimator would give them.
        depth: of the surfaces [F, H, W], metres.
        rotations: the truth: head to world [F, 3, 3].
        eyes: the truth: the point between the eyes [F, 3].
    """

    camera: Camera
    keypoints: Keypoints
    depth: Tensor
    rotations: Tensor
    eyes: Tensor


def head_turned(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Tensor:
    """Return head-to-world [3, 3] of a head that faces the camera at yaw 0; degrees, pitch and yaw down and left."""
    facing = vectors_to_matrices(torch.tensor([0.0, math.pi, 0.0], dtype=torch.float64))
    turns = [vectors_to_matrices(torch.tensor(v, dtype=torch.float64)) for v in _vectors(yaw, pitch, roll)]
    return facing @ turns[0] @ turns[1] @ turns[2]


def make_person(
    eyes: Tensor,
    heads: Tensor,
    trunks: Tensor | None = None,
    *,
    noise: float = 2.0,
    missing: Sequence[int] = (),
    size: float = 1.0,
    seed: int = 0,
    camera: Camera | None = None,
) -> Person:
    """Make a clip of a person.

    Args:
        eyes: the point between the eyes [F, 3], metres.
        heads: head to world [F, 3, 3].
        trunks: trunk to world [F, 3, 3]; by default the head's turn about the vertical.
        noise: standard deviation of the joints in pixels of a picture 784 pixels wide.
        missing: frames in which the estimator finds nobody.
        size: of the head.
        seed: of the noise.
        camera: the exo camera, in the origin.
    """
    camera = camera or Camera(Pinhole.from_fov(FOV, WIDTH, HEIGHT), WIDTH, HEIGHT, torch.eye(4))
    generator = torch.Generator().manual_seed(seed)
    depths, pixels, found = [], [], []
    trunks = _upright(heads) if trunks is None else trunks
    for eye, head, trunk in zip(eyes, heads, trunks):
        neck = eye + trunk @ torch.tensor([0.0, 0.21, -0.10], dtype=torch.float64)
        depth = _depth(camera, _figure(eye, head, neck, trunk, size))
        points = {joint: eye + size * (head @ torch.tensor(_HEAD[joint], dtype=torch.float64)) for joint in HEAD_JOINTS}
        points |= {joint: neck + trunk @ torch.tensor(place, dtype=torch.float64) for joint, place in _TRUNK.items()}
        pixel, z, inside = camera.project(torch.stack([points[joint] for joint in Joint]))
        column, row = pixel.floor().long().unbind(-1)
        inside = inside & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        surface = depth[row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1)]
        hidden = z - surface > _HIDDEN
        hidden[len(HEAD_JOINTS) :] = False  # estimators place shoulders and hips wherever the person faces
        depths.append(depth)
        pixels.append(
            pixel
            + noise * camera.width / _NOISE_WIDTH * torch.randn(N_JOINTS, 2, generator=generator, dtype=torch.float64)
        )
        found.append(inside & ~hidden)
    confidence = 0.9 * torch.stack(found).to(torch.float64)
    confidence[list(missing)] = 0
    rotations = torch.full((len(eyes), 3, 3), torch.nan, dtype=torch.float64)
    return Person(camera, Keypoints(torch.stack(pixels), confidence, rotations), torch.stack(depths), heads, eyes)


def direction_errors(found: Tensor, truth: Tensor) -> Tensor:
    """Return the angles in degrees between the viewing directions of two [F, 3, 3] rotations to the world."""
    return (found[:, :, 2] * truth[:, :, 2]).sum(dim=-1).clamp(-1, 1).acos().rad2deg()


def _vectors(yaw: float, pitch: float, roll: float) -> list[list[float]]:
    return [[0.0, math.radians(yaw), 0.0], [-math.radians(pitch), 0.0, 0.0], [0.0, 0.0, math.radians(roll)]]


def _upright(heads: Tensor) -> Tensor:
    """Return trunks that face where heads do, upright."""
    ahead = torch.nn.functional.normalize(heads[:, :, 2] * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64), dim=-1)
    down = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(ahead)
    return torch.stack([torch.linalg.cross(down, ahead), down, ahead], dim=-1)


def _figure(eye: Tensor, head: Tensor, neck: Tensor, trunk: Tensor, size: float) -> list[Shape]:
    """Return skull, nose, ears, neck and trunk, and a room around them."""

    def on_head(*place: float) -> Tensor:
        return eye + size * (head @ torch.tensor(place, dtype=torch.float64))

    def on_trunk(*place: float) -> Tensor:
        return neck + trunk @ torch.tensor(place, dtype=torch.float64)

    return [
        Box(origin=(0.0, 0.0, 2.0), half_size=(4.0, 1.6, 4.5), inside_out=True, paint=_PAINT),
        _ball(on_head(0.0, 0.005, -0.098), 0.097 * size),
        _rod(on_head(0, 0.0, -0.006), on_head(0.002, 0.046, 0.019), 0.009 * size),
        _rod(on_head(0, 0.02, -0.03), on_head(0, 0.09, -0.04), 0.035 * size),
        *(_ball(on_head(side * 0.074, 0.02, -0.1), 0.02 * size) for side in (-1, 1)),
        _rod(on_head(0, 0.07, -0.1), neck, 0.05),
        _rod(on_trunk(-0.15, 0.02, 0), on_trunk(0.15, 0.02, 0), 0.07),
        _rod(on_trunk(0, 0.10, 0), on_trunk(0, 0.50, 0), 0.13),
    ]


def _ball(center: Tensor, radius: float) -> Ball:
    return Ball(origin=tuple(center.tolist()), radius=radius, paint=_PAINT)


def _rod(start: Tensor, end: Tensor, radius: float) -> Capsule:
    origin, length = tuple(start.tolist()), float(torch.linalg.vector_norm(end - start))
    return Capsule(origin=origin, axes=axes_along(end - start), length=length, radius=radius, paint=_PAINT)


def _depth(camera: Camera, shapes: list[Shape]) -> Tensor:
    rays = Rays.of_camera(camera, torch.float32).posed(camera.camera_to_world[0])
    hits = trace(rays, dict(enumerate(shapes)))
    return rays.image(hits.distance).double() * camera.local_rays[..., 2]
