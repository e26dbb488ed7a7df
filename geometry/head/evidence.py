"""What keypoints, depth and exo camera say of a head in each frame, in the exo camera's axes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..body.body import lift_body
from ..body.down import scene_down
from ..body.facing import find_facing
from ..body.guides import Guide, Walk, hands_of, walk_of
from ..body.size import body_size
from ..cameras.camera import Camera
from ..cameras.rotations import shortest_turns
from ..depth.depth import Depth
from .keypoints import HEAD_JOINTS, Keypoints
from .model import HEAD_POINTS
from .torso import Torso, torso_of

# An estimator's error, as a share of the picture's width (2 pixels at 784), and how far a real head's points lie from
# the model's, in metres; both one standard deviation.
_PIXEL_ERROR = 2 / 784
_MODEL_ERROR = 0.006
# Error of a depth map at a joint: metres, and as a share of the depth.
_DEPTH_ERROR = (0.025, 0.01)
# By so much the errors of joints grow that a detector made up.
_MADE_UP = 3.0


@dataclass(frozen=True, eq=False)
class HeadEvidence:
    """Everything a head's pose is fitted to; F frames, the J = 5 joints of `HEAD_JOINTS`.

    Attributes:
        rays: unit rays to the joints [F, J, 3].
        points: the joints about the point between the eyes, in the head's axes [F, J, 3], metres, of an adult.
        weights: confidence of the joints [F, J], 0 where not found.
        angle_errors: standard deviations of the rays [F, J], radians.
        depths: depth z of the surface at the joints [F, J], metres; NaN where unknown.
        depth_errors: their standard deviations [F, J], metres.
        rotations: the head's axes as an estimator gave them [F, 3, 3]; NaN where it did not.
        torso: the trunk; where the face is trusted, without what walking says of it.
        still_torso: the trunk by shoulders, hips and head alone, as if the person did not walk.
        down: unit vector downwards [F, 3].
        distance: depth z of the body [F], metres; NaN where no joint has one.
        walk: where the person goes.
        hands: where the person's hands are at work, seen from the chest.
        sizes: the person against an adult's mean by trunk and limbs [F], the same in every frame; NaN where unknown.
        trusted: where the face's joints may be believed [F] bool, as far as was found out.
    """

    rays: Tensor
    points: Tensor
    weights: Tensor
    angle_errors: Tensor
    depths: Tensor
    depth_errors: Tensor
    rotations: Tensor
    torso: Torso
    still_torso: Torso
    down: Tensor
    distance: Tensor
    walk: Walk
    hands: Guide
    sizes: Tensor
    trusted: Tensor

    def __getitem__(self, frames: Tensor) -> HeadEvidence:
        return HeadEvidence(*(getattr(self, part.name)[frames] for part in fields(self)))

    def __len__(self) -> int:
        return len(self.rays)

    @property
    def body_size(self) -> float | None:
        """The person's size against an adult's mean by trunk and limbs; `None` where unknown."""
        return float(self.sizes[0]) if len(self) and bool(self.sizes[0].isfinite()) else None

    @property
    def n_joints(self) -> Tensor:
        """How many joints of the head were found [F]."""
        return (self.weights > 0).sum(dim=1)

    @property
    def has_rotation(self) -> Tensor:
        """Where an estimator gave the head's axes [F] bool."""
        return self.rotations.isfinite().all(dim=(1, 2))

    @property
    def shows_face(self) -> Tensor:
        """Where the head itself tells how it is turned [F] bool: three of its joints, or axes from an estimator."""
        return ((self.n_joints >= 3) & self.trusted) | self.has_rotation

    @property
    def usable(self) -> Tensor:
        """Where there is enough to place a head [F] bool: a depth, and the head's joints or the trunk."""
        has_place = (self.n_joints > 0) | self.torso.neck.isfinite().all(dim=1)
        has_torso = self.torso.rotations.isfinite().all(dim=(1, 2)) & has_place
        return self.distance.isfinite() & (self.shows_face | has_torso)

    def with_faces(self, trusted: Tensor) -> HeadEvidence:
        """Return the evidence with the joints of faces that are not trusted [F] kept for the head's place alone.

        A face that was made up still lies where the head is; what it says of its turn is worth nothing. So all of its
        joints become one, in their middle. Who shows the face may step aside or back: where it is trusted, walking says
        nothing of the trunk.
        """
        heads = self.weights[..., None] * torch.ones_like(self.rays)
        total = heads.sum(dim=1, keepdim=True).clamp_min(1e-6)
        ray = torch.nn.functional.normalize((self.rays * heads).sum(dim=1, keepdim=True), dim=-1)
        point = (self.points * heads).sum(dim=1, keepdim=True) / total
        known = trusted[:, None]
        shows_face = replace(self, trusted=trusted).shows_face
        return replace(
            self,
            trusted=trusted,
            torso=self.still_torso.where(shows_face, self.torso),
            rays=torch.where(known[..., None], self.rays, ray.expand_as(self.rays)),
            points=torch.where(known[..., None], self.points, point.expand_as(self.points)),
            depths=torch.where(known, self.depths, self.depths.nanmean(dim=1, keepdim=True)),
            angle_errors=self.angle_errors * torch.where(known, 1.0, _MADE_UP),
            depth_errors=torch.where(known, self.depth_errors, _MADE_UP * self.depth_errors.nanmean(1, keepdim=True)),
        )


def gather_evidence(keypoints: Keypoints, depth: Depth, camera: Camera) -> HeadEvidence:
    """Lift one person's keypoints with depth and lens.

    Args:
        keypoints: of F frames, in the depth's pixels.
        depth: metric, F frames.
        camera: the exo camera, of the depth's size.
    """
    head = list(HEAD_JOINTS)
    body = lift_body(keypoints, depth, camera)
    measured = body_size(body)
    size = measured or 1.0
    down = scene_down(body, depth)
    walk = walk_of(body, down, size)
    facing = find_facing(body, down, walk, size)
    still = Walk(walk.directions, torch.zeros_like(walk.speeds))
    rays, depths = body.rays[:, head], body.depths[:, head]
    model_angle = _MODEL_ERROR / body.distance[:, None].nan_to_num(math.inf)
    pixel_angle = _PIXEL_ERROR * camera.width * _radians_per_pixel(camera, keypoints.pixels[:, head])
    ahead = rays.new_tensor([0, 0, 1]).expand(len(rays), 3)
    toward = torch.nn.functional.normalize((rays * keypoints.confidence[:, head, None]).sum(dim=1), dim=-1)
    return HeadEvidence(
        rays=rays,
        points=HEAD_POINTS.expand_as(rays),
        weights=keypoints.confidence[:, head],
        angle_errors=torch.hypot(pixel_angle, model_angle),
        depths=depths,
        depth_errors=_DEPTH_ERROR[0] + _DEPTH_ERROR[1] * depths,
        rotations=shortest_turns(ahead, toward) @ keypoints.rotations,
        torso=torso_of(body, facing, walk, down, size),
        still_torso=torso_of(body, find_facing(body, down, still, size), still, down, size),
        down=down,
        distance=body.distance,
        walk=walk,
        hands=hands_of(body, down, facing.directions, walk, size),
        sizes=torch.full((len(rays),), measured or math.nan, dtype=torch.float64),
        trusted=torch.ones(len(rays), dtype=torch.bool),
    )


def _radians_per_pixel(camera: Camera, pixels: Tensor) -> Tensor:
    """Return the angle that one pixel spans at pixels [..., 2]."""
    half = pixels.new_tensor([0.5, 0.0])
    left, right = camera.lens.unproject(pixels - half), camera.lens.unproject(pixels + half)
    return torch.linalg.vector_norm(right - left, dim=-1)
