from __future__ import annotations

import numpy as np
import pytest
import torch

from exo2ego.common.memory import NotEnoughMemoryError
from exo2ego.common.messages import arrived, few, frame_ranges, gigabytes, with_advice


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing (None)"),
        (True, "True"),
        (7, "7"),
        (10**5000, "a whole number of more than 20 digits"),
        (float("nan"), "NaN"),
        (float("-inf"), "minus infinity"),
        ("a cup", "the text 'a cup'"),
        ("x" * 100, f"the text '{'x' * 60}'... of 100 characters"),
        ([], "a list of 0"),
        ([[], 1], "a list of 2, the first a list"),
        ({}, "an empty dictionary"),
        ({"a": 1, "b": 2, 3: 4, "d": 5}, "a dictionary with the keys a, b, 3 and 1 more"),
        (object(), "an object"),
        (np.zeros((2, 3), np.uint8), "an array (ndarray) [2, 3] of uint8"),
        (torch.zeros(2, 3), "a tensor [2, 3] of float32"),
    ],
    ids=lambda value: type(value).__name__,  # pytest would write the number out
)
def test_what_arrived_is_told_in_a_few_words(value, text):
    assert arrived(value) == text


def test_advice_follows_a_reader_s_errors():
    @with_advice("Copy it again.")
    def read(error):
        raise error

    with pytest.raises(ValueError, match=r"^It is torn\. Copy it again\.$"):
        read(ValueError("It is torn."))
    with pytest.raises(ValueError, match=r"^It is torn\. Copy it again\.$"):
        read(ValueError("It is torn"))
    for of_its_own in (NotEnoughMemoryError("Lower the size."), KeyError("a")):
        with pytest.raises(type(of_its_own)) as raised:
            read(of_its_own)
        assert raised.value is of_its_own
