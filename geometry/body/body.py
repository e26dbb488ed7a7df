"""A person's joints lifted with depth and lens into the exo camera's axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..cameras.camera import Camera
from ..depth.depth import Depth
from ..head.keypoints import HEAD_JOINTS, N_JOINTS, Joint, Keypoints, Limb
from ..head.lift import joint_depths, limb_depths

Place = Joint | Limb


@dataclass(frozen=True, eq=False)
class Body:
    """One person over F frames; P = the joints of `Joint`, and those of `Limb` after them.

    Attributes:
        rays: unit rays to the joints [F, P, 3].
        depths: depth z of the surface at the joints [F, P], metres; NaN where unknown.
        confidence: [F, P], 0 where not found.
        distance: depth z of the body [F], metres; NaN where no joint has one.
        camera: the exo camera, F poses.
    """

    rays: Tensor
    depths: Tensor
    confidence: Tensor
    distance: Tensor
    camera: Camera

    def __len__(self) -> int:
        return len(self.rays)

    @property
    def points(self) -> Tensor:
        """The surface at the joints [F, P, 3], metres; NaN where its depth is unknown."""
        return self.rays / self.rays[..., 2:].clamp_min(1e-6) * self.depths[..., None]

    @property
    def flat_points(self) -> Tensor:
        """The joints as if all lay in the body's depth [F, P, 3], metres; NaN where not found."""
        flat = self.rays / self.rays[..., 2:].clamp_min(1e-6) * self.distance[:, None, None]
        return flat.where(self.confidence[..., None] > 0, torch.nan)

    @property
    def to_world(self) -> Tensor:
        """Rotations from the exo camera's axes to the world's [F, 3, 3]."""
        return self.camera.camera_to_world[:, :3, :3]

    def middle(self, *places: Place, flat: bool = False) -> Tensor:
        """Return the mean of those of some joints that are known [F, 3]; NaN where none is."""
        points = self.flat_points if flat else self.points
        return points[:, [place_of(place) for place in places]].nanmean(dim=1)

    @property
    def neck(self) -> Tensor:
        """The middle between the shoulders [F, 3]; OpenPose's neck stands in where a shoulder has no depth."""
        left, right = (self.middle(joint) for joint in (Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER))
        middle = (left + right) / 2
        return middle.where(middle.isfinite(), self.middle(Joint.NECK))


def place_of(joint: Place) -> int:
    """Return where a joint lies along the second axis of a body's numbers."""
    return int(joint) + (N_JOINTS if isinstance(joint, Limb) else 0)


def lift_body(keypoints: Keypoints, depth: Depth, camera: Camera) -> Body:
    """Lift one person's keypoints.

    Args:
        keypoints: of F frames, in the depth's pixels.
        depth: metric, F frames.
        camera: the exo camera, of the depth's size.
    """
    metres = depth.metric()
    depths = joint_depths(keypoints, metres)
    distance = depths.nanmedian(dim=1).values
    of_limbs = limb_depths(keypoints.limbs, metres, distance)
    pixels = torch.cat([keypoints.pixels, keypoints.limbs[..., :2]], dim=1)
    return Body(
        rays=camera.lens.unproject(pixels),
        depths=torch.cat([depths, of_limbs], dim=1),
        confidence=torch.cat([keypoints.confidence, keypoints.limbs[..., 2]], dim=1),
        distance=distance,
        camera=camera.expanded(len(keypoints)),
    )


HEAD_PLACES = tuple(place_of(joint) for joint in HEAD_JOINTS)
