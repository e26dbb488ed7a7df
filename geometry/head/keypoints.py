"""Keypoints of people in a clip: the joints that tell where a head is and where it looks.

`openpose` and `core_keypoints` read what pose estimators hand out; `person_tracks` picks one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from ..cameras.aspect import same_aspect

# Two estimators mean the same person where their joints lie this near, as a share of the picture's width.
_SAME_PERSON = 0.04


class Joint(IntEnum):
    """The joints in use; left and right are the person's own."""

    NOSE = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    LEFT_EAR = 3
    RIGHT_EAR = 4
    NECK = 5
    LEFT_SHOULDER = 6
    RIGHT_SHOULDER = 7
    LEFT_HIP = 8
    RIGHT_HIP = 9


HEAD_JOINTS = (Joint.NOSE, Joint.LEFT_EYE, Joint.RIGHT_EYE, Joint.LEFT_EAR, Joint.RIGHT_EAR)
N_JOINTS = len(Joint)


class Limb(IntEnum):
    """Joints of arms and legs, which guide where the face cannot; left and right are the person's own."""

    LEFT_ELBOW = 0
    RIGHT_ELBOW = 1
    LEFT_WRIST = 2
    RIGHT_WRIST = 3
    LEFT_KNEE = 4
    RIGHT_KNEE = 5
    LEFT_ANKLE = 6
    RIGHT_ANKLE = 7


N_LIMBS = len(Limb)


@dataclass(frozen=True, eq=False)
class Keypoints:
    """People in one frame, or one person over a clip: N is people or frames.

    Attributes:
        pixels: [N, J, 2] float64 as (column, row), pixel centres at +0.5; anything where confidence is 0.
        confidence: [N, J] float64 in [0, 1]; 0 where the joint was not found.
        rotations: [N, 3, 3] float64: the head's axes (x to its right, y down, z ahead) as a camera sees them that was
            turned, by the shortest way, to look straight at the head; NaN where the estimator gives none.
        limbs: [N, L, 3] float64 as (column, row, confidence), as above; `None` stands for none found.

    Raises:
        ValueError: if the shapes do not fit together.
    """

    pixels: Tensor
    confidence: Tensor
    rotations: Tensor
    limbs: Tensor | None = None

    def __post_init__(self) -> None:
        n = len(self.pixels)
        if self.limbs is None:
            object.__setattr__(self, "limbs", torch.zeros(n, N_LIMBS, 3, dtype=torch.float64))
        shapes = [list(part.shape) for part in (self.pixels, self.confidence, self.rotations, self.limbs)]
        if shapes != [[n, N_JOINTS, 2], [n, N_JOINTS], [n, 3, 3], [n, N_LIMBS, 3]]:
            raise ValueError(
                f"Expected [N, {N_JOINTS}, 2], [N, {N_JOINTS}], [N, 3, 3] and [N, {N_LIMBS}, 3], got {shapes}."
            )

    @classmethod
    def none(cls, n: int = 0) -> Keypoints:
        """Return n people, or frames, of whom nothing was found."""
        return cls(
            pixels=torch.zeros(n, N_JOINTS, 2, dtype=torch.float64),
            confidence=torch.zeros(n, N_JOINTS, dtype=torch.float64),
            rotations=torch.full((n, 3, 3), torch.nan, dtype=torch.float64),
        )

    @classmethod
    def joined(cls, parts: Sequence[Keypoints]) -> Keypoints:
        """Return the parts one after the other."""
        return cls(
            pixels=torch.cat([part.pixels for part in parts]),
            confidence=torch.cat([part.confidence for part in parts]),
            rotations=torch.cat([part.rotations for part in parts]),
            limbs=torch.cat([part.limbs for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice | Tensor) -> Keypoints:
        return Keypoints(self.pixels[index], self.confidence[index], self.rotations[index], self.limbs[index])

    @property
    def seen(self) -> Tensor:
        """Which joints were found [N, J] bool."""
        return self.confidence > 0

    @property
    def has_rotation(self) -> Tensor:
        """Where an estimator gave the head's axes [N] bool."""
        return torch.isfinite(self.rotations).all(dim=(1, 2))

    def centers(self) -> Tensor:
        """Return the mean of the joints found [N, 2], NaN where there is none."""
        seen = self.seen[..., None]
        return (self.pixels * seen).sum(dim=1) / seen.sum(dim=1).where(seen.any(dim=1), torch.nan)

    def filled_from(self, other: Keypoints) -> Keypoints:
        """Return these keypoints, with what they lack taken from `other`, of the same N."""
        lacks = ~self.seen
        return Keypoints(
            pixels=torch.where(lacks[..., None], other.pixels, self.pixels),
            confidence=torch.where(lacks, other.confidence, self.confidence),
            rotations=torch.where(self.has_rotation[:, None, None], self.rotations, other.rotations),
            limbs=torch.where(self.limbs[..., 2:] > 0, self.limbs, other.limbs),
        )

    def scaled(self, columns: float, rows: float) -> Keypoints:
        """Return the keypoints in pixels of a picture that was stretched by these factors."""
        scale = torch.tensor([columns, rows, 1.0], dtype=torch.float64)
        return replace(self, pixels=self.pixels * scale[:2], limbs=self.limbs * scale)


@dataclass(frozen=True, eq=False)
class People:
    """All people of a clip, as an estimator found them frame by frame.

    Attributes:
        frames: the people of each frame, in the estimator's order.
        width, height: size in pixels of the picture that the pixels belong to.

    Raises:
        ValueError: if there is no frame or no picture.
    """

    frames: tuple[Keypoints, ...]
    width: int
    height: int

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("Expected the keypoints of at least one frame, got none.")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"Expected the size of the image in pixels, got {self.width} x {self.height}.")

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def resized(self, width: int, height: int) -> People:
        """Return the keypoints in pixels of the picture resized to `width` x `height`.

        Raises:
            ValueError: if the aspect ratio differs: such keypoints belong to another part of the picture.
        """
        if not same_aspect((self.width, self.height), (width, height)):
            raise ValueError(
                f"The keypoints belong to an image of {self.width} x {self.height} pixels, the clip has {width} x "
                f"{height}: the aspect ratios differ. Run the pose estimator on the same images as the depth."
            )
        frames = tuple(people.scaled(width / self.width, height / self.height) for people in self.frames)
        return People(frames, width, height)

    def merged_with(self, other: People) -> People:
        """Return these people with what another estimator adds: joints and head axes they lack, and further people.

        Raises:
            ValueError: if the lengths or the pictures' shapes differ.
        """
        if other.n_frames != self.n_frames:
            raise ValueError(
                f"One estimator gives {self.n_frames} frames of people, the other {other.n_frames}. Run both on the "
                "same clip."
            )
        other = other.resized(self.width, self.height)
        reach = _SAME_PERSON * self.width
        frames = tuple(_merged(mine, theirs, reach) for mine, theirs in zip(self.frames, other.frames))
        return replace(self, frames=frames)


def _merged(mine: Keypoints, theirs: Keypoints, reach: float) -> Keypoints:
    """Join the people of one frame; a pair is one person where the joints that both have lie within `reach` pixels."""
    if not len(mine) or not len(theirs):
        return Keypoints.joined([mine, theirs])
    common = (mine.seen[:, None] & theirs.seen[None]).to(torch.float64)  # [A, B, J]
    apart = torch.linalg.vector_norm(mine.pixels[:, None] - theirs.pixels[None], dim=-1)  # [A, B, J]
    distance = (apart * common).sum(dim=-1) / common.sum(dim=-1)  # [A, B], NaN where nothing is common
    from_theirs = torch.full((len(mine),), len(theirs))  # whom each of mine goes with; the last stands for nobody
    left_over = torch.ones(len(theirs), dtype=torch.bool)
    taken = torch.zeros(len(mine), dtype=torch.bool)
    for flat in distance.nan_to_num(torch.inf).flatten().argsort().tolist():
        a, b = divmod(flat, len(theirs))
        if not distance[a, b] < reach:  # also false for NaN
            break
        if not taken[a] and left_over[b]:
            from_theirs[a] = b
            taken[a], left_over[b] = True, False
    matched = Keypoints.joined([theirs, Keypoints.none(1)])[from_theirs]
    return Keypoints.joined([mine.filled_from(matched), theirs[left_over]])
