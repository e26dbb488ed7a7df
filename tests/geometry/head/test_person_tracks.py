"""One of several people, whatever the order in which the estimator lists them."""

from __future__ import annotations

import pytest
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.geometry.head import person_tracks
from exo2ego.geometry.head.keypoints import N_JOINTS, Joint, Keypoints, People
from exo2ego.geometry.head.person_tracks import PersonChoice, follow_people, follow_person
from support import tracks_reference

WIDTH, HEIGHT = 640, 360


def somebody(x: float, y: float, size: float) -> Keypoints:
    """A person whose joints lie on a column `size` pixels high."""
    one = Keypoints.none(1)
    one.pixels[0, :, 0] = x
    one.pixels[0, :, 1] = y + torch.linspace(-size / 2, size / 2, N_JOINTS, dtype=torch.float64)
    one.confidence[0] = 1
    return one


def crowd(n_frames: int = 12) -> People:
    """A large one who crosses from the left, a small one near the middle; their order changes in every frame."""
    frames = []
    for frame in range(n_frames):
        large, small = somebody(60 + 20 * frame, 200, 200), somebody(330, 180 + frame, 80)
        frames.append(Keypoints.joined([large, small] if frame % 2 == 0 else [small, large]))
    return People(tuple(frames), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("choice", "number", "large"),
    [
        (PersonChoice.LARGEST, 0, True),
        (PersonChoice.CENTRAL, 0, False),
        (PersonChoice.NUMBER, 0, True),
        (PersonChoice.NUMBER, 1, False),
    ],
)
def test_the_chosen_person_in_every_frame(choice, number, large):
    one = follow_person(crowd(), choice, number)
    heights = one.pixels[:, -1, 1] - one.pixels[:, 0, 1]
    assert len(one) == 12
    torch.testing.assert_close(heights, torch.full((12,), 200.0 if large else 80.0, dtype=torch.float64))


def test_absent_frames_stay_empty_and_the_person_comes_back():
    frames = list(crowd().frames)
    for frame in (4, 5):
        frames[frame] = somebody(330, 184, 80)
    frames[8] = Keypoints.none()
    one = follow_person(People(tuple(frames), WIDTH, HEIGHT), PersonChoice.LARGEST)
    present = one.seen.any(dim=1)
    assert (~present).nonzero()[:, 0].tolist() == [4, 5, 8]
    torch.testing.assert_close(one.pixels[10, 0, 0], torch.tensor(260.0, dtype=torch.float64))
    assert len(follow_people(People(tuple(frames), WIDTH, HEIGHT))) == 2


def test_a_passer_by_is_somebody_else():
    frames = (somebody(100, 180, 150), somebody(500, 180, 150), somebody(102, 180, 150))
    tracks = follow_people(People(frames, WIDTH, HEIGHT))
    assert [track.seen.any(dim=1).tolist() for track in tracks] == [[True, False, True], [False, True, False]]


def test_nobody_and_too_few():
    with pytest.raises(ValueError, match="nobody in any of the 3 frames"):
        follow_person(People((Keypoints.none(),) * 3, WIDTH, HEIGHT), PersonChoice.LARGEST)
    with pytest.raises(ValueError, match="no person 2: the clip shows 2"):
        follow_person(crowd(), PersonChoice.NUMBER, 2)


def test_two_estimators_of_one_clip_complete_each_other():
    mine, theirs = Keypoints.joined([somebody(60, 200, 200), somebody(330, 180, 80)]), somebody(333, 181, 80)
    mine.confidence[1, Joint.NOSE] = 0
    theirs.rotations[0] = torch.eye(3)
    far = somebody(600, 100, 60)
    people = People((mine,), WIDTH, HEIGHT).merged_with(People((Keypoints.joined([far, theirs]),), WIDTH, HEIGHT))
    merged = people.frames[0]
    assert len(merged) == 3
    assert merged.has_rotation.tolist() == [False, True, False]
    assert merged.pixels[1, Joint.NOSE, 0] == 333
    assert merged.pixels[1, Joint.NECK, 0] == 330
    with pytest.raises(ValueError, match="1 frames of people, the other 2"):
        people.merged_with(People((far, far), WIDTH, HEIGHT))


def test_pictures_of_another_shape():
    people = crowd()
    assert people.resized(320, 180).frames[0].pixels[0, 0, 0] == 30
    with pytest.raises(ValueError, match="aspect ratios differ"):
        people.resized(400, 400)


# Many people ----------------------------------------------------------------------------------------------------------


def milling(seed: int, n_people: int, n_frames: int = 5, step: float = 15.0) -> People:
    """A crowd that moves at random; joints and people go missing, and the order changes in every frame."""
    chance = torch.Generator().manual_seed(seed)
    size = torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    middles = torch.rand(n_people, 1, 2, generator=chance, dtype=torch.float64) * size
    shape = 30 * torch.randn(n_people, N_JOINTS, 2, generator=chance, dtype=torch.float64)
    frames = []
    for _ in range(n_frames):
        middles = middles + step * torch.randn(n_people, 1, 2, generator=chance, dtype=torch.float64)
        seen = torch.rand(n_people, N_JOINTS, generator=chance) > 0.5
        there = (torch.rand(n_people, generator=chance) > 0.2) & seen.any(dim=1)
        order = torch.randperm(n_people, generator=chance)
        order = order[there[order]]
        pixels = (middles + shape).round()  # costs that are equal occur
        frames.append(Keypoints(pixels[order], seen[order].double(), Keypoints.none(len(order)).rotations))
    return People(tuple(frames), WIDTH, HEIGHT)


@pytest.mark.parametrize("step", [2.0, 15.0, 60.0])
@pytest.mark.parametrize("pairs_at_once", [2**20, 64])
def test_crowds_are_followed_as_pair_by_pair(step, pairs_at_once, monkeypatch):
    monkeypatch.setattr(person_tracks, "_PAIRS_AT_ONCE", pairs_at_once)
    for seed in range(3):
        people = milling(seed, 12, step=step)
        got, expected = follow_people(people), tracks_reference.follow_people(people)
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected):
            assert torch.equal(mine.seen, theirs.seen)
            assert torch.equal(mine.pixels[mine.seen], theirs.pixels[theirs.seen])


def test_following_asks_in_between_whether_to_go_on(monkeypatch):
    monkeypatch.setattr(person_tracks, "_PAIRS_AT_ONCE", 1000)
    asked = []
    people = milling(0, 100, n_frames=3, step=2.0)
    with cancellable(lambda: asked.append(1)):
        follow_people(people)
    assert len(asked) >= 2 * 80 * 80 // 1000  # two frames have pairs, of some 80 people each


# Detectors that know one person ---------------------------------------------------------------------------------------


def jumping(order: str, apart: float = 35.0, size: float = 60.0) -> People:
    """Two people who stand side by side, a and b, of whom each frame has one; they move a little."""
    places = {"a": 300.0, "b": 300.0 + apart}
    frames = [somebody(places[who] + 0.5 * (frame % 3), 180, size) for frame, who in enumerate(order)]
    return People(tuple(frames), WIDTH, HEIGHT)


@pytest.mark.parametrize("order", ["aaaaabbbbaaaaa", "aaababbaaabaaa", "abababababab", "aaaaaaaaab"])
def test_a_detector_that_jumps_between_two_people_makes_two_tracks(order):
    tracks = follow_people(jumping(order))
    assert "".join("a" if seen else "b" for seen in tracks[0].seen.any(dim=1)) == order
    assert len(tracks) == 2
    assert not bool((tracks[0].seen & tracks[1].seen).any())


def test_another_size_at_the_same_place_is_somebody_else():
    frames = [somebody(300, 180, 120 if frame < 8 else 60) for frame in range(14)]
    assert len(follow_people(People(tuple(frames), WIDTH, HEIGHT))) == 2


def test_who_runs_is_one_person():
    """As fast as people may be followed at all, and nearer to the camera from frame to frame."""
    frames = [somebody(40 + 22 * frame, 180, 60 * 1.04**frame) for frame in range(14)]
    assert len(follow_people(People(tuple(frames), WIDTH, HEIGHT))) == 1
