"""Tracks that are two people: of a detector that knows one person, and jumps between two.

A person does not leap by half of their own size from one frame to the next and stand still there, nor grow to another
size. Where a track does, it is cut, and the pieces go to whoever they continue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .keypoints import Keypoints

# A leap, in sizes of the person (the diagonal around head and trunk) from one frame to the next.
_LEAP = 0.35
# It is one only beside how the person moves otherwise: so many times further.
_BESIDE_USUAL = 4.0
# Sightings from which on it shows how a person moves.
_FEWEST = 6
# Joints as far from each other as these factors of before are another person's.
_GROWTH = 1.5
# Joints that two sightings must share, for their size to be compared.
_LEAST_COMMON = 3
# Frames over which a leap counts as if it had happened at once; over longer absences people may go anywhere.
_ABSENCE = 3


def without_jumps(track: Keypoints) -> list[Keypoints]:
    """Return the people of a track [F], mostly one, in the order in which they first appear; each over all F frames."""
    frames = track.seen.any(dim=1).nonzero()[:, 0]
    if len(frames) < _FEWEST:
        return [track]
    places = track.pixels.where(track.seen[..., None], torch.nan)[frames]  # [S, J, 2]
    size = _size(places)
    steps, growths = _between(places[:-1], places[1:])
    gaps = (frames[1:] - frames[:-1]).clamp_max(_ABSENCE)
    usual = _usual(places, steps)
    leaps = (steps > _LEAP * size * gaps) & (steps > _BESIDE_USUAL * usual)
    cuts = leaps | (growths > _GROWTH)
    if not bool(cuts.any()):
        return [track]
    pieces = torch.tensor_split(torch.arange(len(frames)), (cuts.nonzero()[:, 0] + 1).tolist())
    people: list[list[Tensor]] = []
    for piece in pieces:
        # Whoever the track leapt away from is out of the question.
        others = [person for person in people if person[-1][-1] != piece[0] - 1]
        misses = [_misses(places[person[-1][-1]], places[piece[0]], size) for person in others]
        if misses and min(misses) < 1:
            others[misses.index(min(misses))].append(piece)
        else:
            people.append([piece])
    return [_only(track, frames[torch.cat(person)]) for person in people]


def _usual(places: Tensor, steps: Tensor) -> float:
    """Return how far the person moves otherwise: by the median step, or to the sighting after the next.

    The latter is small where a detector goes to and fro.
    """
    to_and_fro, _ = _between(places[:-2], places[2:])
    return float(torch.minimum(steps.nanmedian(), to_and_fro.nanmedian()))


def _between(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return the median step of joints [S, J, 2] in pixels, and the factor of their size, 1 or more, [S] and [S]."""
    common = before.isfinite().all(dim=-1) & after.isfinite().all(dim=-1)
    steps = torch.linalg.vector_norm(after - before, dim=-1).nanmedian(dim=1).values
    steps = steps.where(common.any(dim=1), torch.linalg.vector_norm(after.nanmean(1) - before.nanmean(1), dim=-1))
    spreads = [_size(part.where(common[..., None], torch.nan), each=True) for part in (before, after)]
    growths = torch.maximum(spreads[0] / spreads[1], spreads[1] / spreads[0])
    return steps, growths.where(common.sum(dim=1) >= _LEAST_COMMON, 1.0).nan_to_num(1.0, posinf=1.0)


def _misses(before: Tensor, after: Tensor, size: float) -> float:
    """Return how far a sighting [J, 2] is from continuing another: below 1 it may be the same person."""
    step, growth = _between(before[None], after[None])
    return max(float(step) / (size * _LEAP * _ABSENCE), float(growth) / _GROWTH)


def _size(places: Tensor, each: bool = False) -> Tensor:
    """Return the diagonal around joints [S, J, 2], pixels: of each sighting [S], or the median."""
    known = places.isfinite()
    low, high = places.where(known, torch.inf).amin(dim=1), places.where(known, -torch.inf).amax(dim=1)
    sizes = torch.linalg.vector_norm((high - low).clamp_min(0).nan_to_num(0, 0, 0), dim=-1)
    return sizes if each else sizes.median()


def _only(track: Keypoints, frames: Tensor) -> Keypoints:
    """Return a track in which the person is seen in these frames alone."""
    rows = torch.full((len(track),), len(track))
    rows[frames] = frames
    return Keypoints.joined([track, Keypoints.none(1)])[rows]
