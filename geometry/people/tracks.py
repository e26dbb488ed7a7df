"""Who is who from frame to frame: boxes of a detector that knows no names, joined into one track a person.

A track says where its box will be next (its middle moves on as it did, slower while it is not seen), and boxes go to
the tracks that expect them, so that the sum of what is unexpected is least (Hungarian method). Two who walk past each
other stay themselves, and so does one who is hidden for a moment. What people look like is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from .boxes import areas, overlaps, without_doubles

# A box that is less sure than asked for, down to this share, still continues a track; it starts none.
_CONTINUES = 0.5
# So many frames a track waits for a person who is hidden.
_PATIENCE = 15
# A box belongs to no track whose middle it misses by more than this, in sizes of the larger box.
_FARTHEST = 0.75
# Nor to one of another size: the larger over the smaller area.
_LARGEST_CHANGE = 4.0
# Middles slow down so much a frame while nobody is seen.
_SLOWS = 0.9
# How much of a new step goes into the speed.
_NEW_SPEED = 0.4
# Tracks that hold in a smaller share of the frames are mistakes of the detector.
_FEWEST = 0.05
# A box costs this much of a step away, beside what it does not share with the expected one.
_DISTANCE = 0.5


@dataclass(frozen=True, eq=False)
class PersonTrack:
    """One person over a clip.

    Attributes:
        boxes: [F, 4] float64, left, top, right, bottom in pixels; NaN where the person is not there.
        scores: [F] float64, the detector's confidence; 0 where the box was filled between others, or there is none.
    """

    boxes: Tensor
    scores: Tensor

    @property
    def present(self) -> Tensor:
        """Where there is a box [F] bool."""
        return self.boxes[:, 0].isfinite()


@dataclass
class _Track:
    """A track in the making: frames, boxes and scores so far, and the middle's speed in pixels a frame."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    speed: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))

    def add(self, frame: int, box: Tensor, score: float) -> None:
        if self.frames:
            step = (_middle(box) - _middle(self.boxes[-1])) / (frame - self.frames[-1])
            share = _NEW_SPEED if len(self.frames) > 1 else 1.0
            self.speed = torch.lerp(self.speed, step, share)
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(score)

    def expected(self, frame: int) -> Tensor:
        """Return where the box [4] will be in a later frame."""
        ahead = frame - self.frames[-1]
        way = self.speed * (1 - _SLOWS**ahead) / (1 - _SLOWS)
        return self.boxes[-1] + way.repeat(2)


def track_people(frames: Sequence[tuple[Tensor, Tensor]], confidence: float = 0.5) -> list[PersonTrack]:
    """Join the boxes of all frames into tracks.

    Args:
        frames: of each the boxes [P, 4] in pixels and their scores [P]; boxes below `confidence` help to hold tracks.
        confidence: a box that is as sure as this starts a track.

    Returns:
        The people in the order in which they first appear, of one frame the larger first. Gaps are filled between the
        boxes around them. Tracks of less than a twentieth of the clip are left out.
    """
    tracks: list[_Track] = []
    for frame, (boxes, scores) in enumerate(frames):
        cancel_point()
        boxes, scores = boxes.to(torch.float64), scores.to(torch.float64)
        known = (scores >= confidence * _CONTINUES) & boxes.isfinite().all(dim=-1) & (areas(boxes) > 0)
        boxes, scores = boxes[known], scores[known]
        kept = without_doubles(boxes, scores)
        boxes, scores = boxes[kept], scores[kept]
        left = torch.ones(len(boxes), dtype=torch.bool)
        waiting = [track for track in tracks if frame - track.frames[-1] <= _PATIENCE]
        for sure in (True, False):  # sure boxes choose first, so that a shadow takes nobody's place
            candidates = (left & ((scores >= confidence) == sure)).nonzero()[:, 0]
            pairs = _pairs([track.expected(frame) for track in waiting], boxes[candidates])
            for track, box in pairs:
                place = int(candidates[box])
                waiting[track].add(frame, boxes[place], float(scores[place]))
                left[place] = False
            taken = {track for track, _ in pairs}
            waiting = [track for number, track in enumerate(waiting) if number not in taken]
        starts = (left & (scores >= confidence)).nonzero()[:, 0].tolist()
        for place in sorted(starts, key=lambda place: -float(areas(boxes[place]))):
            tracks.append(_Track())
            tracks[-1].add(frame, boxes[place], float(scores[place]))
    fewest = math.ceil(_FEWEST * len(frames))
    return [_filled(track, len(frames)) for track in tracks if len(track.frames) >= fewest]


def _pairs(expected: Sequence[Tensor], boxes: Tensor) -> list[tuple[int, int]]:
    """Return pairs of a track and a box; a box that no track may have is in none."""
    if not expected or not len(boxes):
        return []
    from scipy.optimize import linear_sum_assignment

    where = torch.stack(list(expected))
    sizes = torch.maximum(_sizes(where)[:, None], _sizes(boxes)[None])
    away = torch.linalg.vector_norm(_middle(where)[:, None] - _middle(boxes)[None], dim=-1) / sizes
    larger = areas(where)[:, None] / areas(boxes)[None]
    fits = (away <= _FARTHEST) & (torch.maximum(larger, 1 / larger) <= _LARGEST_CHANGE)
    costs = 1 - overlaps(where, boxes) + _DISTANCE * away
    # What may not be is dearer than all that may, together: as many pairs as can be are allowed ones.
    dear = float(costs.where(fits, 0.0).sum()) + 1
    rows, columns = linear_sum_assignment(costs.where(fits, dear).numpy())
    return [(int(row), int(column)) for row, column in zip(rows, columns) if fits[row, column]]


def _filled(track: _Track, n_frames: int) -> PersonTrack:
    """Return a track with the boxes between those that were seen."""
    boxes = torch.full((n_frames, 4), torch.nan, dtype=torch.float64)
    scores = torch.zeros(n_frames, dtype=torch.float64)
    for place, frame in enumerate(track.frames):
        boxes[frame], scores[frame] = track.boxes[place], track.scores[place]
        before = track.frames[place - 1] if place else frame
        for between in range(before + 1, frame):
            share = (between - before) / (frame - before)
            boxes[between] = torch.lerp(track.boxes[place - 1], track.boxes[place], share)
    return PersonTrack(boxes, scores)


def _middle(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _sizes(boxes: Tensor) -> Tensor:
    """Return the diagonals [...] of boxes [..., 4]."""
    return torch.linalg.vector_norm(boxes[..., 2:] - boxes[..., :2], dim=-1)
