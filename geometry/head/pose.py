"""The ego camera from what the picture shows: keypoints of a person, metric depth and the exo camera.

The camera sits between the person's eyes, looks where the face looks, and is bent down as head-worn cameras are. The
steps lie in files of their own: `head_evidence` lifts keypoints, `head_search` fits heads, `pose_smoothing` smooths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...common.messages import frame_ranges
from ..cameras.camera import Camera
from ..cameras.rotations import rigid, vectors_to_matrices
from ..depth.depth import Depth
from ..lenses import Lens
from .evidence import gather_evidence
from .keypoints import Keypoints
from .hands import towards_hands
from .search import find_heads
from .smoothing import fill_gaps, smooth_poses

DEFAULT_SMOOTHING = 12.0  # frames, half of a second and more at the rates of these clips
# Degrees below where the face looks; 18 to 25 were measured on an Ego-Exo4D take
# (tests/geometry/head/test_real_take.py).
DEFAULT_TILT = 20.0
# A frame whose viewing direction is less certain than this is filled from its neighbours.
_WORST_DIRECTION = math.radians(50)
# The uncertainty of the viewing direction that halves the confidence.
_HALF_CONFIDENCE = math.radians(10)


@dataclass(frozen=True, eq=False)
class HeadPose:
    """A person's head over F frames, as the ego camera.

    Attributes:
        camera: F poses, in the exo camera's world.
        confidence: [F] in [0, 1]: 1 for a viewing direction known exactly, 0.5 for one known to 10 degrees, 0 for
            frames that were filled.
        filled_frames: frames without evidence of their own.
        torso_frames: frames whose face is hidden: the trunk, and the neighbours, say where the head looks.
        head_size: of the head against an adult's mean. Far from 1 the depth's scale is off.
    """

    camera: Camera
    confidence: Tensor
    filled_frames: tuple[int, ...]
    torso_frames: tuple[int, ...]
    head_size: float

    def summary(self) -> str:
        """Return what was found in a few lines."""
        n = self.camera.n_frames
        lines = [
            f"{n - len(self.filled_frames)} of {n} frames seen, mean confidence {float(self.confidence.mean()):.2f}; "
            f"head {100 * self.head_size:.0f} % of an adult's mean size",
            f"filled from their neighbours: {frame_ranges(self.filled_frames)}",
            f"face hidden, guided by the trunk: {frame_ranges(self.torso_frames)}",
        ]
        return "\n".join(lines)


def estimate_head_pose(
    keypoints: Keypoints,
    depth: Depth,
    exo_camera: Camera,
    lens: Lens,
    width: int,
    height: int,
    *,
    tilt_degrees: float = DEFAULT_TILT,
    smoothing: float = DEFAULT_SMOOTHING,
    body_height: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> HeadPose:
    """Find where a person's eyes are and where they look.

    Args:
        keypoints: of one person over F frames, in pixels of the depth maps.
        depth: metric, F frames.
        exo_camera: of the depth's size; fixed, or F poses.
        lens: of the ego camera.
        width: of the ego image in pixels.
        height: of the ego image in pixels.
        tilt_degrees: how far the camera is bent down from where the face looks.
        smoothing: period in frames, see `smooth_poses`.
        progress: see `find_heads`.

    Raises:
        ValueError: if lengths or sizes differ, the depth is not metric, or the head is found in no frame.
    """
    n_frames = len(keypoints)
    _check(keypoints, depth, exo_camera)
    evidence = gather_evidence(keypoints, depth, exo_camera)
    usable = evidence.usable
    if not usable.any():
        raise ValueError(_why_nothing(keypoints, evidence.distance))
    fits, seen, size = find_heads(evidence[usable], body_height > 0, progress)
    turned, off = towards_hands(fits.rotations, fits.direction_errors(), seen.hands)
    errors = torch.full((n_frames,), torch.inf, dtype=torch.float64)
    errors[usable] = off
    shows_face = torch.zeros(n_frames, dtype=torch.bool)
    shows_face[usable] = seen.shows_face
    known = errors <= _WORST_DIRECTION
    if not known.any():
        raise ValueError(
            "The keypoints show too little of the head in every frame: nose, eyes and ears, or both shoulders, are "
            "needed. Check the keypoints' preview, or set the ego camera by hand."
        )
    to_world = exo_camera.expanded(n_frames).camera_to_world
    rotations, positions = (torch.zeros(n_frames, *shape, dtype=torch.float64) for shape in ((3, 3), (3,)))
    rotations[usable] = to_world[usable, :3, :3] @ turned
    positions[usable] = (to_world[usable, :3, :3] @ fits.positions[..., None])[..., 0] + to_world[usable, :3, 3]
    rotations, positions = fill_gaps(rotations, positions, known)
    certainty = errors.square().reciprocal().clamp_min(1e-6)
    rotations, positions = smooth_poses(rotations, positions, smoothing, certainty, known)
    confidence = (1 / (1 + (errors / _HALF_CONFIDENCE).square())).where(known, 0.0)
    return HeadPose(
        camera=_worn_camera(rotations, positions, lens, width, height, tilt_degrees),
        confidence=confidence,
        filled_frames=_numbers(~known),
        torso_frames=_numbers(known & ~shows_face),
        head_size=size,
    )


def _worn_camera(rotations: Tensor, positions: Tensor, lens: Lens, width: int, height: int, tilt: float) -> Camera:
    """Return the camera of heads [F, 3, 3], [F, 3], bent down by `tilt` degrees about the line through the eyes."""
    bent = rotations @ vectors_to_matrices(rotations.new_tensor([-math.radians(tilt), 0, 0]))
    world_to_camera = rigid(bent.mT, -(bent.mT @ positions[..., None])[..., 0])
    return Camera(lens, width, height, world_to_camera)


def _check(keypoints: Keypoints, depth: Depth, camera: Camera) -> None:
    depth.metric()  # raises where it is none
    if depth.n_frames != len(keypoints):
        raise ValueError(
            f"The keypoints have {len(keypoints)} frames and the depth {depth.n_frames}. Run both estimators on the "
            "same frames, or cut the longer one."
        )
    if not camera.is_fixed and camera.n_frames != len(keypoints):
        raise ValueError(
            f"The exo camera has {camera.n_frames} poses and the keypoints {len(keypoints)} frames. "
            "Connect those of one clip."
        )
    if (camera.width, camera.height) != (depth.width, depth.height):
        raise ValueError(
            f"The exo camera has {camera.width} x {camera.height} pixels and the depth {depth.width} x {depth.height}. "
            "Connect those of one clip."
        )


def _numbers(frames: Tensor) -> tuple[int, ...]:
    return tuple(frames.nonzero()[:, 0].tolist())


def _why_nothing(keypoints: Keypoints, distance: Tensor) -> str:
    if not keypoints.seen.any():
        return "No joint of this person was found in any frame. Choose another person, or check the keypoints."
    if not distance.isfinite().any():
        return (
            "There is no depth at any joint of this person. Check that keypoints and depth come from the same images."
        )
    return (
        "The head was found in no frame: at least three of nose, eyes and ears, or both shoulders, are needed in some "
        "frame. Check the keypoints' preview, or set the ego camera by hand."
    )
