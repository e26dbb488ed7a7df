"""Which of several people is meant, followed through a clip whose estimator lists them in any order."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from .keypoints import Keypoints, People

# A person moves by no more than this share of the picture's width from one frame to the next, and three times as far
# over a longer absence.
_LARGEST_STEP = 0.06
_LONGEST_ABSENCE = 3.0


class PersonChoice(str, Enum):
    """How one of several people is chosen."""

    LARGEST = "largest"
    """The one who is largest over the clip."""
    CENTRAL = "most central"
    """The one who stays nearest to the middle of the picture."""
    NUMBER = "by number"
    """The n-th: people are numbered as they first appear, in the estimator's order."""


def follow_person(people: People, choice: PersonChoice, number: int = 0) -> Keypoints:
    """Pick one person and follow them.

    Args:
        people: of every frame.
        choice: how to pick.
        number: for `NUMBER`, from 0.

    Returns:
        The person's keypoints in every frame [F]; nothing is found in frames without them.

    Raises:
        ValueError: if there is nobody in the whole clip, or fewer people than `number` asks for.
    """
    tracks = follow_people(people)
    if not tracks:
        raise ValueError(
            f"The keypoints contain nobody in any of the {people.n_frames} frames. Check the pose estimator's image, "
            "lower its detection threshold, or set the ego camera by hand."
        )
    if choice is PersonChoice.NUMBER:
        if not 0 <= number < len(tracks):
            raise ValueError(f"There is no person {number}: the clip shows {len(tracks)}, numbered from 0.")
        return tracks[number]
    middle = torch.tensor([people.width / 2, people.height / 2], dtype=torch.float64)

    def score(track: Keypoints) -> float:
        present = track.seen.any(dim=1)
        if choice is PersonChoice.LARGEST:  # absent frames count as no size: a passer-by does not win
            return float(_sizes(track).sum())
        away = torch.linalg.vector_norm(track.centers()[present] - middle, dim=-1) / people.width
        return float((1 - away).sum())

    return max(tracks, key=score)


def follow_people(people: People) -> list[Keypoints]:
    """Follow everybody: one [F] for each person, in the order in which they first appear."""
    tracks: list[list[Keypoints]] = []
    last_seen: list[tuple[int, Tensor]] = []  # frame and joints' pixels [J, 2], NaN where not found
    for frame, found in enumerate(people.frames):
        places = found.pixels.where(found.seen[..., None], torch.nan)  # [P, J, 2]
        free = set(range(len(found)))
        taken: set[int] = set()
        for cost, track, person in _pairs(places, last_seen, frame, people.width):
            if cost <= 1 and track not in taken and person in free:
                taken.add(track)
                free.discard(person)
                tracks[track].append(found[person : person + 1])
                last_seen[track] = (frame, places[person])
        for track in range(len(tracks)):
            if track not in taken:
                tracks[track].append(Keypoints.none(1))
        for person in sorted(free):
            if bool(found.seen[person].any()):
                tracks.append([Keypoints.none(frame), found[person : person + 1]])
                last_seen.append((frame, places[person]))
    return [Keypoints.joined(parts) for parts in tracks]


def _pairs(places: Tensor, last_seen: list[tuple[int, Tensor]], frame: int, width: int) -> list[tuple[float, int, int]]:
    """Return (cost, track, person), cheapest first; a cost above 1 is too far for one person."""
    pairs = []
    for track, (seen, before) in enumerate(last_seen):
        reach = _LARGEST_STEP * width * min(frame - seen, _LONGEST_ABSENCE)
        for person, now in enumerate(places):
            apart = torch.linalg.vector_norm(now - before, dim=-1)  # [J]
            if not bool(apart.isfinite().any()):  # no joint in common: compare the middles
                apart = torch.linalg.vector_norm(now.nanmean(dim=0) - before.nanmean(dim=0))
            pairs.append((float(apart.nanmedian()) / reach, track, person))
    return sorted(pairs)


def _sizes(track: Keypoints) -> Tensor:
    """Return the diagonal of the box around the joints found [F], 0 where there is none."""
    low = track.pixels.where(track.seen[..., None], torch.inf).amin(dim=1)
    high = track.pixels.where(track.seen[..., None], -torch.inf).amax(dim=1)
    return torch.linalg.vector_norm((high - low).clamp_min(0).nan_to_num(0, 0, 0), dim=-1)
