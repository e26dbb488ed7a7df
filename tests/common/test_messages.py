from __future__ import annotations

import pytest

from exo2ego.common.messages import few, frame_ranges, gigabytes


@pytest.mark.parametrize(
    ("frames", "text"), [([], "none"), ([4], "4"), ([0, 1, 2, 3, 7], "0-3, 7"), ([2, 4, 5], "2, 4-5")]
)
def test_frame_ranges(frames, text):
    assert frame_ranges(frames) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("abcdef", "a, b, c and 3 more")],
)
def test_a_long_list_is_cut_and_counted(names, text):
    assert few(list(names)) == text


def test_gigabytes_are_decimal():
    assert gigabytes(16.4e9) == "16.4 GB"
    assert gigabytes(4_200_000) == "4.2 MB"
