"""Which of several people is meant, followed through a clip whose estimator lists them in any order."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from ...common.cancel import bounded_slices, cancel_point
from .keypoints import N_JOINTS, Keypoints, People
from .track_jumps import without_jumps

# A person moves by no more than this share of the picture's width from one frame to the next, and three times as far
# over a longer absence.
_LARGEST_STEP = 0.06
_LONGEST_ABSENCE = 3.0
# Pairs of a track and a person whose boxes are compared in one go.
_PAIRS_AT_ONCE = 2**20


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
            raise ValueError(
                f"There is no person {number}: the clip shows {len(tracks)}, numbered from 0. Choose one of them."
            )
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
    """Follow everybody: one [F] for each person, in the order in which they first appear.

    From frame to frame the nearest pair of a track and a person goes together first. Where a track leaps to somebody
    else, as those of detectors do that know one person only, it is cut (`track_jumps`). The readable twin of the rest,
    which the tests hold this against, is `tests/support/tracks_reference`.
    """
    tracks: list[list[tuple[int, int]]] = []  # of each: frames, and the person's place in them
    seen = torch.zeros(0, dtype=torch.int64)  # [T] the frame in which each track was seen last
    before = torch.zeros(0, N_JOINTS, 2, dtype=torch.float64)  # [T, J, 2] where, NaN where a joint was not found
    for frame, found in enumerate(people.frames):
        places = found.pixels.where(found.seen[..., None], torch.nan)  # [P, J, 2]
        reaches = _LARGEST_STEP * people.width * (frame - seen).clamp(max=_LONGEST_ABSENCE)  # [T] pixels
        matches = _matches(places, before, reaches)
        for track, person in matches:
            tracks[track].append((frame, person))
        if matches:
            chosen, persons = (torch.tensor(part) for part in zip(*matches))
            seen[chosen], before[chosen] = frame, places[persons]
        new = found.seen.any(dim=1)
        new[[person for _, person in matches]] = False
        starts = new.nonzero()[:, 0]
        tracks += [[(frame, person)] for person in starts.tolist()]
        seen = torch.cat([seen, torch.full((len(starts),), frame)])
        before = torch.cat([before, places[starts]])
    everybody = Keypoints.joined([*people.frames, Keypoints.none(1)])
    firsts = torch.tensor([0, *(len(found) for found in people.frames)]).cumsum(0)
    followed = [one for track in tracks for one in without_jumps(_of_track(everybody, firsts, track))]
    return sorted(followed, key=lambda one: int(one.seen.any(dim=1).to(torch.uint8).argmax()))


def _of_track(everybody: Keypoints, firsts: Tensor, track: list[tuple[int, int]]) -> Keypoints:
    """Gather one person [F] from the people of all frames; `everybody` ends with nobody."""
    cancel_point()
    rows = torch.full((len(firsts) - 1,), len(everybody) - 1)
    frames, persons = (torch.tensor(part) for part in zip(*track))
    rows[frames] = firsts[frames] + persons
    return everybody[rows]


def _matches(places: Tensor, before: Tensor, reaches: Tensor) -> list[tuple[int, int]]:
    """Pair tracks and people of one frame, cheapest first; nobody is in two pairs.

    Args:
        places: the people's joints [P, J, 2], NaN where not found.
        before: the tracks' joints where they were seen last [T, J, 2].
        reaches: how far each track may have moved [T].
    """
    found: list[tuple[Tensor, Tensor]] = []
    for part in bounded_slices(len(before), len(places), most=_PAIRS_AT_ONCE):
        near = _boxes_meet(before[part], places, reaches[part]).nonzero()  # [N, 2] of track and person
        for piece in bounded_slices(len(near), 1, most=_PAIRS_AT_ONCE // N_JOINTS):
            pairs = near[piece] + torch.tensor([part.start, 0])
            costs = _costs(places[pairs[:, 1]], before[pairs[:, 0]]) / reaches[pairs[:, 0]]
            close = costs <= 1  # false for NaN: nothing of one of them was found
            found.append((costs[close], pairs[close]))
    if not found:
        return []
    costs, pairs = (torch.cat(part) for part in zip(*found))
    pairs = pairs[costs.argsort(stable=True)]
    matches: list[tuple[int, int]] = []
    taken = [bytearray(len(one)) for one in (before, places)]
    of_tracks, of_people = taken
    for piece in bounded_slices(len(pairs), 1, most=_PAIRS_AT_ONCE // N_JOINTS):
        left = pairs[piece]
        known = [torch.frombuffer(bytearray(one), dtype=torch.bool) for one in taken]
        for track, person in left[~(known[0][left[:, 0]] | known[1][left[:, 1]])].tolist():
            if not of_tracks[track] and not of_people[person]:
                matches.append((track, person))
                of_tracks[track] = of_people[person] = 1
        if all(of_people):
            break
    return matches


def _boxes_meet(before: Tensor, places: Tensor, reaches: Tensor) -> Tensor:
    """Return which tracks and people [T, P] may be one: their joints' boxes come as near as a track may have moved."""
    (low, high), (low_now, high_now) = _boxes(before), _boxes(places)
    apart = torch.maximum(low_now[None] - high[:, None], low[:, None] - high_now[None])  # [T, P, 2]
    return (apart <= reaches[:, None, None]).all(dim=-1)


def _boxes(places: Tensor) -> tuple[Tensor, Tensor]:
    found = ~places.isnan()
    return places.where(found, torch.inf).amin(dim=1), places.where(found, -torch.inf).amax(dim=1)


def _costs(now: Tensor, before: Tensor) -> Tensor:
    """Return how far joints [N, J, 2] went, in pixels [N]: the median joint, or the middles where none is common."""
    costs = torch.linalg.vector_norm(now - before, dim=-1).nanmedian(dim=1).values
    apart = costs.isnan()
    costs[apart] = torch.linalg.vector_norm(now[apart].nanmean(dim=1) - before[apart].nanmean(dim=1), dim=-1)
    return costs


def _sizes(track: Keypoints) -> Tensor:
    """Return the diagonal of the box around the joints found [F], 0 where there is none."""
    low = track.pixels.where(track.seen[..., None], torch.inf).amin(dim=1)
    high = track.pixels.where(track.seen[..., None], -torch.inf).amax(dim=1)
    return torch.linalg.vector_norm((high - low).clamp_min(0).nan_to_num(0, 0, 0), dim=-1)
