"""Windows over a clip: every frame is seen, none alone decides at a border, weights add up to 1."""

from itertools import pairwise

import pytest
import torch

from exo2ego.common.windows import Windows

CASES = [(13, 4, 75), (13, 4, 14), (3, 1, 13), (3, 2, 13), (5, 0, 12), (2, 1, 9), (13, 4, 26)]


@pytest.mark.parametrize(("length", "overlap", "n_frames"), CASES)
def test_they_cover_the_clip(length, overlap, n_frames):
    windows = Windows(length, overlap).over(n_frames)
    assert (windows[0].start, windows[-1].stop) == (0, n_frames)
    assert {len(window) for window in windows} == {length}
    assert all(before.stop - after.start >= overlap for before, after in pairwise(windows))
    assert all(before.start < after.start for before, after in pairwise(windows))
    fewer = Windows(length, 0).over(n_frames)
    assert len(windows) >= len(fewer)


@pytest.mark.parametrize(("length", "overlap", "n_frames"), CASES)
def test_weights(length, overlap, n_frames):
    total = torch.zeros(n_frames)
    pairs = list(Windows(length, overlap).weighted(n_frames))
    for frames, weight in pairs:
        total[frames.start : frames.stop] += torch.tensor(weight)
        assert min(weight) > 0
    assert torch.allclose(total, torch.ones(n_frames))
    assert pairs[0][1][0] == pairs[-1][1][-1] == 1


def test_a_blend_of_equals_is_what_they_are_and_a_step_becomes_a_ramp():
    clip = torch.arange(20.0)
    blended = torch.zeros(20)
    for number, (frames, weight) in enumerate(Windows(8, 4).weighted(20)):
        blended[frames.start : frames.stop] += torch.tensor(weight) * (clip[frames.start : frames.stop] + 10 * number)
    jumps = blended.diff() - 1
    assert float(jumps.max()) < 4.001  # a fifth of 10 from either side; a hard cut would be 10
    assert torch.allclose(blended[:4], clip[:4])


def test_a_short_clip_is_one_window():
    assert Windows(13, 4).over(13) == [range(13)]
    assert Windows(13, 4).over(5) == [range(5)]


@pytest.mark.parametrize(("length", "overlap"), [(3, 3), (3, 4), (1, -1)])
def test_windows_that_never_end(length, overlap):
    with pytest.raises(ValueError, match="overlap by less than their length"):
        Windows(length, overlap)
