"""A camera's way set by keyframes: what the camera editor edits, and how a frame between two keys is found.

Rotations here are camera-to-world, so that a key says where the camera is and where it looks; axes are OpenCV's, as
everywhere. `trajectory_json` has the text that stores a trajectory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..lenses import Lens
from .camera import Camera
from .presets import OWN_NUMBERS, RELEASE_SIZE, LensPreset, preset_lens
from .rotations import (
    hermite_turns,
    inverse,
    matrices_to_quaternions,
    multiply,
    quaternions_to_matrices,
    quaternions_to_vectors,
    slerp,
)

MAX_SIDE = 8192  # pixels
MAX_DISTANCE = 1e6  # metres from the world's origin: beyond it float32 points are off by more than a hand's breadth
MAX_FRAME = 1_000_000
MAX_TURN = 360.0  # degrees a frame about each axis
Vector = tuple[float, float, float]
# What a keyframe may have beside its numbers, how large its parts may be, and what they count.
SLOPES = (
    ("tangent_in", MAX_DISTANCE, "m"),
    ("tangent_out", MAX_DISTANCE, "m"),
    ("turn_in", MAX_TURN, "degrees"),
    ("turn_out", MAX_TURN, "degrees"),
)
_UNIT = 1e-12


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one frame.

    Attributes:
        frame: number of the frame, from 0.
        position: camera centre in the world (x, y, z), metres.
        rotation: camera-to-world quaternion (w, x, y, z); made unit length.
        ease_in: how softly the camera arrives here, 0 (even speed) to 1 (comes to rest).
        ease_out: how softly it leaves, likewise.
        tangent_in: speed on arriving (x, y, z), metres a frame; None: of the way from the key before to the key after.
        tangent_out: speed on leaving, likewise.
        turn_in: turning on arriving, degrees a frame about the camera's own axes (x, y, z); None: the even turn.
        turn_out: turning on leaving, likewise.

    Raises:
        ValueError: if a number is not finite or out of range.
    """

    frame: int
    position: Vector
    rotation: tuple[float, float, float, float]
    ease_in: float = 0.0
    ease_out: float = 0.0
    tangent_in: Vector | None = None
    tangent_out: Vector | None = None
    turn_in: Vector | None = None
    turn_out: Vector | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.frame <= MAX_FRAME:
            raise ValueError(f"A keyframe's frame lies between 0 and {MAX_FRAME:,}, got {self.frame}.")
        if not all(abs(value) <= MAX_DISTANCE for value in self.position):  # false for NaN too
            raise ValueError(
                f"The position of the keyframe at frame {self.frame} must be finite and within {MAX_DISTANCE:,.0f} m, "
                f"got {self.position}."
            )
        length = math.hypot(*self.rotation)
        if not 1e-6 < length < math.inf:
            raise ValueError(
                f"The rotation of the keyframe at frame {self.frame} must be a quaternion (w, x, y, z) other than "
                f"zero, got {self.rotation}."
            )
        if abs(length - 1) > _UNIT:  # a unit quaternion stays as it is, bit by bit
            object.__setattr__(self, "rotation", tuple(value / length for value in self.rotation))
        for name, value in (("ease_in", self.ease_in), ("ease_out", self.ease_out)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} of the keyframe at frame {self.frame} lies between 0 and 1, got {value}.")
        for name, most, unit in SLOPES:
            speed = getattr(self, name)
            if speed is not None and not all(abs(value) <= most for value in speed):
                raise ValueError(
                    f"{name} of the keyframe at frame {self.frame} must be finite and at most {most:,.0f} {unit} a "
                    f"frame, got {speed}."
                )


@dataclass(frozen=True)
class Trajectory:
    """Keyframes and the lens that looks through them.

    Between the keys k0 at frame f0 and k1 at f1, with u = (f - f0) / (f1 - f0), the share of the way is

        s = (u^3 - 2 u^2 + u) m0 + (3 u^2 - 2 u^3) + (u^3 - u^2) m1,  m0 = 1 - ease_out(k0),  m1 = 1 - ease_in(k1).

    The position is the cubic Hermite curve at s through the keys. A key without tangents of its own has
    (p[i+1] - p[i-1]) / (f[i+1] - f[i-1]) per frame, one-sided at both ends. The rotation is the slerp by s; where one
    of the two keys has a turn of its own, it is `hermite_turns`. Before the first and after the last key it rests.

    Attributes:
        keyframes: sorted, one a frame at most; there may be none.
        lens: a preset, made for the image size, or a lens in pixels.
        width, height: image size in pixels.
        view: state of the editor that the camera does not depend on.

    Raises:
        ValueError: if keyframes are unsorted or doubled, the size is none, or the lens is a preset without numbers.
    """

    keyframes: tuple[Keyframe, ...] = ()
    lens: LensPreset | Lens = LensPreset.EGOX_RELEASE
    width: int = RELEASE_SIZE
    height: int = RELEASE_SIZE
    view: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            raise ValueError(f"Width and height are 1 to {MAX_SIDE} pixels, got {self.width} x {self.height}.")
        if self.lens in OWN_NUMBERS:
            raise ValueError("A trajectory with a lens of its own holds the lens' numbers, not the name of a preset.")
        frames = [key.frame for key in self.keyframes]
        for before, after in pairwise(frames):
            if before == after:
                raise ValueError(f"Two keyframes are at frame {before}. Delete one.")
            if before > after:
                raise ValueError(f"Keyframes must be sorted by frame; {after} comes after {before}.")

    @cached_property
    def lens_in_pixels(self) -> Lens:
        """The lens of the image of `width` x `height`."""
        return preset_lens(self.lens, self.width, self.height) if isinstance(self.lens, LensPreset) else self.lens

    def at(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return camera centres [N, 3] and camera-to-world quaternions [N, 4] at frames [N], which may be fractions.

        Raises:
            ValueError: if there are no keyframes.
        """
        if not self.keyframes:
            raise ValueError("A trajectory needs keyframes. Set at least one key.")
        keys, positions, rotations = self._columns
        if len(keys) == 1:
            return positions.expand(len(frames), 3), rotations.expand(len(frames), 4)
        frames = frames.to(keys).clamp(keys[0], keys[-1])
        left = (torch.searchsorted(keys, frames, right=True) - 1).clamp(0, len(keys) - 2)  # [N]
        length = keys[left + 1] - keys[left]
        share = self._eased((frames - keys[left]) / length, left)
        out_of, into = self._tangents
        curve = _hermite(
            share[:, None],
            positions[left],
            positions[left + 1],
            out_of[left] * length[:, None],
            into[left + 1] * length[:, None],
        )
        return curve, self._turned(share, left)

    def to_camera(self, n_frames: int) -> Camera:
        """Return the camera of a clip, with one pose for each of its `n_frames`.

        Raises:
            ValueError: if there are no keyframes, or one lies beyond the clip.
        """
        if self.keyframes and self.keyframes[-1].frame >= n_frames:
            raise ValueError(
                f"There is a keyframe at frame {self.keyframes[-1].frame}, but the clip has {n_frames} frames (0 to "
                f"{n_frames - 1}). Delete it, or give a longer clip."
            )
        centers, quaternions = self.at(torch.arange(n_frames))
        rotations = quaternions_to_matrices(quaternions).mT  # [F, 3, 3], world to camera
        poses = torch.cat([rotations, -rotations @ centers[..., None]], dim=-1)  # [F, 3, 4]
        return Camera(self.lens_in_pixels, self.width, self.height, poses)

    @classmethod
    def from_camera(cls, camera: Camera, metres: float = 0.0, degrees: float = 0.0) -> Trajectory:
        """Make keyframes from the poses of a camera.

        Args:
            camera: a fixed camera becomes one key. Rotations that were rounded become the nearest true ones.
            metres: how far the result may be from the camera at any frame.
            degrees: how far its direction may be. With 0 for both every frame is a key; else keys are set where the
                result is farthest off until it is within both tolerances.
        """
        n_frames = camera.n_frames
        centers = camera.centers
        rotations = matrices_to_quaternions(camera.camera_to_world[:, :3, :3])
        columns = (centers.tolist(), rotations.tolist())

        def with_keys(frames: Sequence[int]) -> Trajectory:
            keys = (Keyframe(frame, tuple(columns[0][frame]), tuple(columns[1][frame])) for frame in frames)
            return cls(tuple(keys), camera.lens, camera.width, camera.height)

        if not metres and not degrees:
            return with_keys(range(n_frames))
        frames = sorted({0, n_frames - 1})
        while True:
            trajectory = with_keys(frames)
            found, turned = trajectory.at(torch.arange(n_frames))
            distance = torch.linalg.vector_norm(found - centers, dim=-1)  # [F]
            cosine = (turned * rotations).sum(dim=-1).abs().clamp_max(1)
            angle = torch.rad2deg(2 * torch.acos(cosine))
            error = torch.maximum(_share_of(distance, metres), _share_of(angle, degrees))
            error[frames] = 0
            spans = [(a, b) for a, b in pairwise(frames) if b - a > 1 and float(error[a:b].max()) > 1]
            if not spans:
                return trajectory
            frames = sorted({*frames, *(a + int(error[a:b].argmax()) for a, b in spans)})

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """Frames [K], positions [K, 3] and rotations [K, 4] of the keys, float64."""
        rows = [(key.frame, *key.position, *key.rotation) for key in self.keyframes]
        table = torch.tensor(rows, dtype=torch.float64)
        return table[:, 0].contiguous(), table[:, 1:4], table[:, 4:]

    @cached_property
    def _tangents(self) -> tuple[Tensor, Tensor]:
        """Speed of the curve on leaving and on arriving at the keys [K, 3], metres a frame; for two keys and more."""
        keys, positions, _ = self._columns
        before = torch.arange(len(keys)).sub(1).clamp_min(0)
        after = torch.arange(len(keys)).add(1).clamp_max(len(keys) - 1)
        usual = (positions[after] - positions[before]) / (keys[after] - keys[before])[:, None]
        return self._own("tangent_out", usual), self._own("tangent_in", usual)

    def _turned(self, share: Tensor, left: Tensor) -> Tensor:
        """Return the rotations [N, 4] at shares [N] of the way between the keys `left` and `left` + 1."""
        keys, _, rotations = self._columns
        start, end = rotations[left], rotations[left + 1]
        turned = slerp(start, end, share)
        has_turn = [a.turn_out is not None or b.turn_in is not None for a, b in pairwise(self.keyframes)]
        if not any(has_turn):
            return turned
        length = keys.diff()[:, None]
        even = quaternions_to_vectors(multiply(inverse(rotations[:-1]), rotations[1:])) / length  # [K - 1, 3]
        out_of = torch.deg2rad(self._own("turn_out", torch.rad2deg(even), slice(None, -1))) * length
        into = torch.deg2rad(self._own("turn_in", torch.rad2deg(even), slice(1, None))) * length
        smooth = hermite_turns(start, end, out_of[left], into[left], share)
        return torch.where(torch.tensor(has_turn)[left, None], smooth, turned)

    def _own(self, name: str, usual: Tensor, keys: slice = slice(None)) -> Tensor:
        """Return the `name` of keys [K, 3], or its row of `usual` for those that have none."""
        given = [getattr(key, name) for key in self.keyframes[keys]]
        return torch.tensor([own or row for own, row in zip(given, usual.tolist())], dtype=usual.dtype)

    def _eased(self, u: Tensor, left: Tensor) -> Tensor:
        """Return the share of the way [N] at the time u [N] between the keys `left` and `left` + 1."""
        out_of = torch.tensor([1 - key.ease_out for key in self.keyframes], dtype=u.dtype)[left]
        into = torch.tensor([1 - key.ease_in for key in self.keyframes], dtype=u.dtype)[left + 1]
        return _hermite(u, torch.zeros_like(u), torch.ones_like(u), out_of, into)


def _hermite(s: Tensor, start: Tensor, end: Tensor, leaving: Tensor, arriving: Tensor) -> Tensor:
    """Return the cubic with given values and slopes at s = 0 and s = 1."""
    square, cube = s * s, s * s * s
    at_end = 3 * square - 2 * cube
    return (1 - at_end) * start + at_end * end + (cube - 2 * square + s) * leaving + (cube - square) * arriving


def _share_of(error: Tensor, tolerance: float) -> Tensor:
    return error / max(tolerance, 1e-9)
