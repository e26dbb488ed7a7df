from __future__ import annotations

import pytest

from exo2ego.common.wan_grid import (
    fits_wan,
    fitting_frames,
    latent_frame_of,
    latent_frames,
    latent_groups,
    nearest_side,
    video_frames,
)


@pytest.mark.parametrize(("frames", "latent"), [(1, 1), (5, 2), (9, 3), (49, 13), (81, 21)])
def test_4n_plus_1_frames_are_n_plus_1_latent_frames(frames, latent):
    assert latent_frames(frames) == latent
    assert video_frames(latent) == frames
    assert fits_wan(frames)
    assert fitting_frames(frames) == frames


@pytest.mark.parametrize(("frames", "fitting"), [(0, 1), (2, 1), (4, 1), (8, 5), (48, 45), (50, 49)])
def test_other_lengths_do_not_fit(frames, fitting):
    assert not fits_wan(frames)
    assert fitting_frames(frames) == fitting


def test_a_negative_length_does_not_fit():
    assert not fits_wan(-3)  # -3 % 4 is 1


def test_latent_groups_have_one_frame_first():
    assert latent_groups(9) == [slice(0, 1), slice(1, 5), slice(5, 9)]
    assert latent_groups(1) == [slice(0, 1)]


def test_a_frame_went_into_the_group_that_holds_it():
    groups = latent_groups(13)
    for frame in range(13):
        group = groups[latent_frame_of(frame)]
        assert group.start <= frame < group.stop


@pytest.mark.parametrize(("pixels", "nearest"), [(1, 16), (16, 16), (23, 16), (25, 32), (450, 448), (784, 784)])
def test_nearest_side_is_of_whole_tokens(pixels, nearest):
    assert nearest_side(pixels) == nearest
