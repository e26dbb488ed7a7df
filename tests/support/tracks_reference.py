"""The readable twin of `follow_people`: pair by pair, in plain loops."""

from __future__ import annotations

import torch

from exo2ego.geometry.head.keypoints import Keypoints, People

LARGEST_STEP, LONGEST_ABSENCE = 0.06, 3.0


def follow_people(people: People) -> list[Keypoints]:
    tracks, last_seen = [], []  # last_seen: frame and joints' pixels [J, 2], NaN where not found
    for frame, found in enumerate(people.frames):
        places = found.pixels.where(found.seen[..., None], torch.nan)  # [P, J, 2]
        free, taken = set(range(len(found))), set()
        for cost, track, person in pairs(places, last_seen, frame, people.width):
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


def pairs(places, last_seen, frame, width):
    """(cost, track, person), cheapest first; a cost above 1 is too far for one person."""
    found = []
    for track, (seen, before) in enumerate(last_seen):
        reach = LARGEST_STEP * width * min(frame - seen, LONGEST_ABSENCE)
        for person, now in enumerate(places):
            apart = torch.linalg.vector_norm(now - before, dim=-1)  # [J]
            if not bool(apart.isfinite().any()):  # no joint in common: compare the middles
                apart = torch.linalg.vector_norm(now.nanmean(dim=0) - before.nanmean(dim=0))
            found.append((float(apart.nanmedian()) / reach, track, person))
    return sorted(found)
