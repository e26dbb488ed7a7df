"""The ego camera from what the picture shows: keypoints of a person, metric depth and the exo camera.

The camera sits between the person's eyes, looks where the face looks, and is bent down as head-worn cameras are. The
steps lie in files of their own: `evidence` lifts keypoints, `search` fits heads, `hands` turns them towards what their
hands do, `smoothing` smooths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...common.messages import frame_ranges
from ..body.size import ADULT_HEIGHT
from ..cameras.camera import Camera
from ..cameras.rotations import rigid, vectors_to_matrices
from ..depth.depth import Depth
from ..lenses import Lens
from .evidence import gather_evidence
from .hands import towards_hands
from .keypoints import Keypoints
from .search import find_heads
from .smoothing import fill_gaps, smooth_poses
from .unmasking import guessing_errors

DEFAULT_SMOOTHING = 12.0  # frames, half of a second and more at the rates of these clips
# Degrees below where the face looks; 18 to 25 were measured on an Ego-Exo4D take
# (tests/geometry/head/test_real_take.py).
DEFAULT_TILT = 20.0
# A frame whose viewing direction is less certain than this is filled from its neighbours.
_WORST_DIRECTION = math.radians(50)
# The uncertainty of the viewing direction that halves the confidence.
_HALF_CONFIDENCE = math.radians(10)
# A confidence below this is a warning: the direction is known to 20 degrees at best.
UNSURE = 0.2
# Above this share of filled frames the path is a guess.
_MANY_FILLED = 0.5
# Adults' sizes against their mean, and what an estimator adds to that.
_FITTING_SCALES = (0.82, 1.22)


@dataclass(frozen=True, eq=False)
class HeadPose:
    """A person's head over F frames, as the ego camera.

    Attributes:
        camera: F poses, in the exo camera's world.
        confidence: [F] in [0, 1]: 1 for a viewing direction known exactly, 0.5 for one known to 10 degrees, 0 for
            frames that were filled.
        filled_frames: frames without evidence of their own.
        torso_frames: frames whose face is hidden, or was made up by the detector: trunk, walking, hands and the
            neighbours say where the head looks.
        head_size: of the head against an adult's mean; `None` where no face was seen.
        body_size: of trunk and limbs against an adult's mean; `None` where no trunk was seen.
        body_height: how tall the person is by what the user says, metres; 0 where that was left open.
    """

    camera: Camera
    confidence: Tensor
    filled_frames: tuple[int, ...]
    torso_frames: tuple[int, ...]
    head_size: float | None
    body_size: float | None = None
    body_height: float = 0.0

    def summary(self) -> str:
        """Return what was found in a few lines."""
        n = self.camera.n_frames
        found = n - len(self.filled_frames)
        faces = found - len(self.torso_frames)
        mean = f"mean confidence {float(self.confidence.mean()):.2f}"
        if faces:
            first = f"{found} of {n} frames seen, {mean}; face in {faces}"
        else:
            first = f"No face seen in any of {n} frames, {mean}: the trunk guides {found}"
        sizes = self._sizes()
        lines = [
            first,
            f"{', '.join(sizes)} of an adult's mean size" if sizes else "size of the person: not known",
            f"filled from their neighbours: {frame_ranges(self.filled_frames)}",
            f"face hidden, guided by the trunk: {frame_ranges(self.torso_frames)}",
            f"uncertain (confidence below {UNSURE:g}): {frame_ranges(_numbers(self.confidence < UNSURE))}",
        ]
        scale = self._depth_scale()
        if self.body_height and scale is not None:
            lines.insert(2, f"by {self.body_height:g} m of height, true sizes are {1 / scale:.2f} times the depth's")
        return "\n".join([*lines, *self.warnings()])

    def warnings(self) -> list[str]:
        """Return what is likely wrong, each as a sentence or two."""
        found = []
        n = self.camera.n_frames
        if len(self.filled_frames) > _MANY_FILLED * n:
            found.append("The head was not found in most frames; their poses are interpolated.")
        mean = float(self.confidence.mean())
        if mean < UNSURE:
            found.append(
                f"Mean confidence is {mean:.2f}: where this person looks is a guess from trunk, walking and hands. "
                "Check the preview, and correct the camera in the Camera Editor."
            )
        scale = self._depth_scale()
        if scale is not None and not _FITTING_SCALES[0] <= scale <= _FITTING_SCALES[1]:
            measured = ", ".join(self._sizes())
            if self.body_height:
                cause = f"By {self.body_height:g} m of height, true sizes are {1 / scale:.2f} times the depth's."
            else:
                cause = (
                    f"The depth's metres are off by a factor of up to {1 / scale:.2f}, this is no adult, or the "
                    "detector marks the face too small: give the person's height as scale_from_body_height."
                )
            found.append(
                f"The depth's scale contradicts the person's size ({measured} of an adult's). {cause} The ego camera "
                "sits in the depth's own scale."
            )
        return found

    def _sizes(self) -> list[str]:
        parts = (("head", self.head_size), ("trunk and limbs", self.body_size))
        return [f"{part} {100 * size:.0f} %" for part, size in parts if size is not None]

    def _depth_scale(self) -> float | None:
        """Return the size that contradicts an adult's, or the given height, most."""
        adult = self.body_height / ADULT_HEIGHT if self.body_height else 1.0
        sizes = [self.body_size] if self.body_height and self.body_size else [self.head_size, self.body_size]
        known = [size / adult for size in sizes if size is not None]
        return max(known, key=lambda size: abs(math.log(size)), default=None)


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
        body_height: how tall the person is, metres: the head's size in the depth then follows from trunk and limbs, and
            the summary says how far the depth's metres are off. 0: an adult, whose head tells its size itself.
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
    own = torch.hypot(fits.direction_errors(), guessing_errors(fits, seen))
    turned, off = towards_hands(fits.rotations, own, seen.hands)
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
        head_size=size if bool((shows_face & known).any()) else None,
        body_size=evidence.body_size,
        body_height=body_height,
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
