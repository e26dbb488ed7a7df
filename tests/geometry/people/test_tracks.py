"""Boxes joined into people: who cross, who are hidden, who come and go, and a detector's mistakes."""

from __future__ import annotations

import random

import pytest
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.geometry.people.boxes import overlaps, without_doubles
from exo2ego.geometry.people.tracks import track_people

F = 40


def box(x: float, y: float = 100.0, width: float = 60.0, height: float = 160.0) -> list[float]:
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def frame_of(*people: tuple[list[float], float]) -> tuple[torch.Tensor, torch.Tensor]:
    boxes = torch.tensor([one for one, _ in people], dtype=torch.float64).reshape(-1, 4)
    return boxes, torch.tensor([score for _, score in people], dtype=torch.float64)


def middles(track) -> torch.Tensor:
    return (track.boxes[:, 0] + track.boxes[:, 2]) / 2


def crossing(rng: random.Random, hidden: int = 0) -> tuple[list, torch.Tensor]:
    """Two who walk past each other; the hind one is hidden for some frames. Returns frames and true middles [2, F]."""
    truth = torch.stack([torch.linspace(60, 340, F), torch.linspace(340, 60, F)])
    frames = []
    for frame in range(F):
        seen = [(box(float(truth[who, frame]) + rng.gauss(0, 2), 100 + rng.gauss(0, 2)), 0.9) for who in (0, 1)]
        if abs(frame - F / 2) < hidden / 2:
            seen = seen[:1]
        rng.shuffle(seen)
        frames.append(frame_of(*seen))
    return frames, truth


@pytest.mark.parametrize("hidden", [0, 4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_two_who_cross_stay_themselves(hidden, seed):
    frames, truth = crossing(random.Random(seed), hidden)
    tracks = track_people(frames)
    assert len(tracks) == 2
    found = torch.stack([middles(track) for track in tracks])
    if found[0, 0] > found[1, 0]:
        found = found.flip(0)
    assert torch.allclose(found, truth.double(), atol=15), (found - truth).abs().amax()
    assert all(bool(track.present.all()) for track in tracks)


def test_a_gap_is_filled_and_told():
    frames = [frame_of((box(100 + 3 * frame), 0.8)) for frame in range(F)]
    for frame in (7, 8, 9):
        frames[frame] = frame_of()
    (track,) = track_people(frames)
    assert torch.allclose(middles(track), 100 + 3 * torch.arange(F, dtype=torch.float64))
    assert (track.scores == 0).nonzero()[:, 0].tolist() == [7, 8, 9]


def test_who_comes_and_goes_has_no_box_before_and_after():
    frames = [frame_of((box(100), 0.9), *([(box(300), 0.9)] if 10 <= frame < 20 else [])) for frame in range(F)]
    first, second = track_people(frames)
    assert bool(first.present.all())
    assert second.present.nonzero()[:, 0].tolist() == list(range(10, 20))


def test_numbers_go_by_first_appearance_and_then_by_size():
    small, large, late = box(50, width=30, height=80), box(200), box(350, width=100, height=190)
    frames = [frame_of((small, 0.9), (large, 0.6), *([(late, 0.99)] if frame else [])) for frame in range(F)]
    assert [float(middles(track)[1]) for track in track_people(frames)] == [200, 50, 350]


def test_unsure_boxes_hold_a_track_and_start_none():
    frames = [frame_of((box(100), 0.9 if frame < 5 else 0.3), (box(300), 0.45)) for frame in range(F)]
    (track,) = track_people(frames)
    assert bool(track.present.all())
    assert track_people([frame_of((box(100), 0.9)), *([frame_of((box(100), 0.1))] * 9)])[0].present.sum() == 1


def test_mistakes_are_left_out():
    """One frame's phantom, a second box of the same person, empty boxes and NaN."""
    nan = [float("nan")] * 4
    frames = [frame_of((box(100), 0.9), (box(101), 0.6), ([5, 5, 5, 9], 0.9), (nan, 0.9)) for _ in range(F)]
    frames[3] = frame_of((box(100), 0.9), (box(300), 0.9))
    (track,) = track_people(frames)
    assert torch.allclose(middles(track), torch.full((F,), 100.0, dtype=torch.float64))


def test_a_cut_to_somebody_far_away_is_another_person():
    frames = [frame_of((box(60 if frame < 20 else 340), 0.9)) for frame in range(F)]
    assert len(track_people(frames)) == 2


def test_nobody():
    assert track_people([frame_of()] * 3) == []


def test_overlaps_by_hand():
    a = torch.tensor([[0.0, 0, 4, 4], [0, 0, 0, 0]])
    b = torch.tensor([[2.0, 0, 6, 4], [4, 4, 8, 8], [float("nan")] * 4])
    assert torch.allclose(overlaps(a, b), torch.tensor([[1 / 3, 0, 0], [0, 0, 0]]))
    assert without_doubles(torch.tensor([box(10), box(11), box(90)]), torch.tensor([0.5, 0.9, 0.2])).tolist() == [
        *(False, True, True)
    ]


def test_it_can_be_cancelled():
    def stop():
        raise InterruptedError

    with cancellable(stop), pytest.raises(InterruptedError):
        track_people([frame_of((box(100), 0.9))])
