"""SAM3_TRACK_DATA as core's tracker makes it: packed bits of a square, objects that come and go."""

from __future__ import annotations

import pytest
import torch

from exo2ego.geometry.depth.track_masks import chosen_objects, read_sam3_track

FRAMES, SIDE = 3, 32
HEIGHT, WIDTH = 48, 80


def pack(masks: torch.Tensor) -> torch.Tensor:
    """Core's packing, written down anew: [..., h, w] bool to bytes, the lowest bit first."""
    packed = torch.zeros(*masks.shape[:-1], masks.shape[-1] // 8, dtype=torch.uint8)
    for bit in range(8):
        packed += masks[..., bit::8].to(torch.uint8) * 2**bit
    return packed


def track(**change) -> dict:
    """Object 0 walks from left to right, object 1 stands below and is absent in the last frame."""
    masks = torch.zeros(FRAMES, 2, SIDE, SIDE, dtype=torch.bool)
    for frame in range(FRAMES):
        masks[frame, 0, :10, 10 * frame : 10 * frame + 9] = True
    masks[:2, 1, 20:, 3:13] = True
    return {
        "packed_masks": pack(masks),
        "n_frames": FRAMES,
        "scores": [0.9, 0.8],
        "orig_size": (HEIGHT, WIDTH),
        **change,
    }


def box(mask: torch.Tensor) -> list[float]:
    """Left, top, right, bottom of what is white, as shares of the picture."""
    rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
    height, width = mask.shape
    return [
        int(columns.min()) / width,
        int(rows.min()) / height,
        (int(columns.max()) + 1) / width,
        (int(rows.max()) + 1) / height,
    ]


@pytest.mark.parametrize("objects", ["0", " 0 "])
def test_one_object(objects):
    masks = read_sam3_track(track(), objects)
    assert masks.shape == (FRAMES, HEIGHT, WIDTH)
    for frame, mask in enumerate(masks):
        expected = [10 * frame / SIDE, 0, (10 * frame + 9) / SIDE, 10 / SIDE]
        assert box(mask) == pytest.approx(expected, abs=1.1 / HEIGHT)


def test_all_objects_and_one_that_is_gone():
    both = read_sam3_track(track())
    assert torch.equal(both, read_sam3_track(track(), "1,0"))
    assert torch.equal(both, torch.maximum(read_sam3_track(track(), "0"), read_sam3_track(track(), "1")))
    assert not read_sam3_track(track(), "1")[2].any()


@pytest.mark.parametrize(
    ("change", "objects", "said"),
    [
        ({}, "2", "no object 2: SAM 3 tracked 2, counted from 0"),
        ({}, "person", "Objects are numbers from 0"),
        ({"packed_masks": None}, "", "found no object in any frame"),
        ({"packed_masks": torch.zeros(FRAMES, 2, 4, 4)}, "", "are bytes"),
        ({"packed_masks": torch.zeros(FRAMES, 2, 4, 4, dtype=torch.uint8)}, "", "are in no frame"),
        ({"orig_size": None}, "", "is a height and a width"),
        ({"orig_size": (0, 5)}, "", "is a height and a width"),
    ],
)
def test_what_cannot_be_read(change, objects, said):
    with pytest.raises(ValueError, match=said):
        read_sam3_track(track(**change), objects)


@pytest.mark.parametrize(("text", "numbers"), [("", []), ("3", [3]), (" 2 , 0,2", [0, 2])])
def test_choices(text, numbers):
    assert chosen_objects(text) == numbers


@pytest.mark.parametrize("text", ["-1", "1.5", "0;1", "0,", "all"])
def test_no_choices(text):
    with pytest.raises(ValueError, match="such as 0, 2"):
        chosen_objects(text)
