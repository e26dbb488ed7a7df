"""What keypoints, depth and exo camera say of a head in each frame, in the exo camera's axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cameras.camera import Camera
from ..cameras.rotations import shortest_turns
from ..depth.depth import Depth
from .keypoints import HEAD_JOINTS, Keypoints
from .lift import joint_depths
from .torso import Torso, torso_of

# An estimator's error, as a share of the picture's width (2 pixels at 784), and how far a real head's points lie from
# the model's, in metres; both one standard deviation.
_PIXEL_ERROR = 2 / 784
_MODEL_ERROR = 0.006
# Error of a depth map at a joint: metres, and as a share of the depth.
_DEPTH_ERROR = (0.025, 0.01)


@dataclass(frozen=True, eq=False)
class HeadEvidence:
    """Everything a head's pose is fitted to; F frames, the J = 5 joints of `HEAD_JOINTS`.

    Attributes:
        rays: unit rays to the joints [F, J, 3].
        weights: confidence of the joints [F, J], 0 where not found.
        angle_errors: standard deviations of the rays [F, J], radians.
        depths: depth z of the surface at the joints [F, J], metres; NaN where unknown.
        depth_errors: their standard deviations [F, J], metres.
        rotations: the head's axes as an estimator gave them [F, 3, 3]; NaN where it did not.
        torso: the trunk.
        down: unit vector downwards [F, 3].
        distance: depth z of the body [F], metres; NaN where no joint has one.
    """

    rays: Tensor
    weights: Tensor
    angle_errors: Tensor
    depths: Tensor
    depth_errors: Tensor
    rotations: Tensor
    torso: Torso
    down: Tensor
    distance: Tensor

    def __getitem__(self, frames: Tensor) -> HeadEvidence:
        torso = Torso(*(part[frames] for part in (self.torso.rotations, self.torso.neck, self.torso.down)))
        parts = (self.rays, self.weights, self.angle_errors, self.depths, self.depth_errors, self.rotations)
        return HeadEvidence(*(part[frames] for part in parts), torso, self.down[frames], self.distance[frames])

    def __len__(self) -> int:
        return len(self.rays)

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
        return (self.n_joints >= 3) | self.has_rotation

    @property
    def usable(self) -> Tensor:
        """Where there is enough to place a head [F] bool: a depth, and the head's joints or the trunk."""
        has_torso = self.torso.rotations.isfinite().all(dim=(1, 2))
        return self.distance.isfinite() & (self.shows_face | has_torso)


def gather_evidence(keypoints: Keypoints, depth: Depth, camera: Camera) -> HeadEvidence:
    """Lift one person's keypoints with depth and lens.

    Args:
        keypoints: of F frames, in the depth's pixels.
        depth: metric, F frames.
        camera: the exo camera, of the depth's size.
    """
    head = list(HEAD_JOINTS)
    rays = camera.lens.unproject(keypoints.pixels)  # [F, all J, 3]
    depths = joint_depths(keypoints, depth.metric())  # [F, all J]
    points = rays / rays[..., 2:].clamp_min(1e-6) * depths[..., None]
    distance = depths.nanmedian(dim=1).values
    model_angle = _MODEL_ERROR / distance[:, None].nan_to_num(math.inf)
    pixel_angle = _PIXEL_ERROR * camera.width * _radians_per_pixel(camera, keypoints.pixels[:, head])
    torso = torso_of(points)
    ahead = rays.new_tensor([0, 0, 1]).expand(len(rays), 3)
    toward = torch.nn.functional.normalize((rays * keypoints.confidence[..., None])[:, head].sum(dim=1), dim=-1)
    return HeadEvidence(
        rays=rays[:, head],
        weights=keypoints.confidence[:, head],
        angle_errors=torch.hypot(pixel_angle, model_angle),
        depths=depths[:, head],
        depth_errors=_DEPTH_ERROR[0] + _DEPTH_ERROR[1] * depths[:, head],
        rotations=shortest_turns(ahead, toward) @ keypoints.rotations,
        torso=torso,
        down=_down(torso, camera, len(keypoints)),
        distance=distance,
    )


def _down(torso: Torso, camera: Camera, n_frames: int) -> Tensor:
    """Return the direction downwards in the exo camera's axes [F, 3].

    In the world it is one for the clip: the mean way from neck to hips of a person who stands or sits. Where hips are
    never seen it is the picture's.
    """
    to_world = camera.expanded(n_frames).camera_to_world[:, :3, :3]
    trunk = (to_world @ torso.down[..., None])[..., 0]
    trunk = trunk[trunk.isfinite().all(dim=1)]
    if not len(trunk):
        return torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64).expand(n_frames, 3)
    down = torch.nn.functional.normalize(trunk.median(dim=0).values, dim=0)
    return (to_world.mT @ down[:, None])[..., 0]


def _radians_per_pixel(camera: Camera, pixels: Tensor) -> Tensor:
    """Return the angle that one pixel spans at pixels [..., 2]."""
    half = pixels.new_tensor([0.5, 0.0])
    left, right = camera.lens.unproject(pixels - half), camera.lens.unproject(pixels + half)
    return torch.linalg.vector_norm(right - left, dim=-1)
