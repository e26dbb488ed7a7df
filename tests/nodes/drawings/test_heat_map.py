"""Heat maps: where and when the heat shows, one scale for what is compared, and the sheet."""

from __future__ import annotations

import pytest
import torch

from exo2ego.nodes.drawings.heat_map import (
    HeatScale,
    attention_sheet,
    black_frames,
    check_video,
    heat_over,
    moments_with,
    ring,
)

EVEN = 1 / 144  # 3 latent frames of 6 rows and 8 columns
SCALE = HeatScale(top=0.02, even=EVEN)


def hot(frame: int, row: int, column: int, value: float = 0.02) -> torch.Tensor:
    heat = torch.zeros(3, 6, 8)
    heat[frame, row, column] = value
    return heat


def redness(pictures: torch.Tensor) -> torch.Tensor:
    return pictures[..., 0] - pictures[..., 2]


def test_heat_shows_at_its_token_and_in_its_frames():
    """Latent frame 1 stands for the video frames 1 to 4; token (2, 5) for rows 32 to 48 and columns 80 to 96."""
    painted = heat_over(hot(1, 2, 5), torch.zeros(9, 96, 128, 3), SCALE)
    assert painted.shape == (9, 96, 128, 3)
    red = redness(painted)
    assert (red[1:5].flatten(1).amax(dim=1) > 0.3).all()
    assert (red[[0, 5, 6, 7, 8]] <= 0).all()
    centre = torch.argwhere(red[3] > 0.9 * red[3].max()).double().mean(dim=0)
    assert centre.tolist() == pytest.approx([40 - 0.5, 88 - 0.5], abs=1)


def test_the_first_latent_frame_stands_for_one_frame():
    red = redness(heat_over(hot(0, 0, 0), torch.zeros(9, 96, 128, 3), SCALE))
    assert red[0].max() > 0.3
    assert (red[1:] <= 0).all()


def test_without_heat_the_picture_is_grey_and_keeps_its_detail():
    frames = torch.rand(9, 48, 64, 4)  # alpha is left out
    painted = heat_over(torch.zeros(3, 6, 8), frames, SCALE)
    grey = frames[..., :3].mean(dim=-1, keepdim=True)
    ratio = painted / grey
    assert ratio.max() - ratio.min() < 1e-4


def test_more_heat_than_the_scale_is_full_colour():
    below, full, beyond = (
        heat_over(torch.full((3, 6, 8), value), torch.zeros(9, 48, 64, 3), SCALE) for value in (0.01, 0.02, 5.0)
    )
    assert torch.equal(full, beyond)
    assert not torch.equal(full, below)


def test_one_scale_for_what_is_compared():
    weak, strong = torch.full((3, 6, 8), 0.001), torch.full((3, 6, 8), 0.004)
    scale = HeatScale.shared([weak, strong], EVEN)
    assert scale.top == pytest.approx(0.004)
    assert scale.describe() == "0 to 0.4 % of the attention per token (0.6 times an even spread)"


def test_an_outlier_does_not_leave_the_rest_dark():
    heat = torch.full((3, 6, 100), 0.001)
    heat[0, 0, 0] = 1.0
    assert HeatScale.shared([heat], EVEN).top == pytest.approx(0.001)


def test_nothing_at_all_has_a_scale():
    assert (
        heat_over(torch.zeros(1, 2, 2), torch.zeros(1, 4, 4, 3), HeatScale.shared([torch.zeros(1, 2, 2)], 0.25)).max()
        == 0
    )


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(8, 96, 128, 3), "stands for 9 frames, but the exo video has 8"),
        (torch.zeros(9, 96, 96, 3), "96 x 96 pixels, but its part of the latent is 8 x 6 tokens"),
        (torch.zeros(9, 96, 128), "frames"),
    ],
)
def test_videos_that_do_not_fit(frames, message):
    with pytest.raises(ValueError, match=message):
        check_video("exo", frames, 3, (8, 6))


def test_a_video_that_is_not_there_fits():
    check_video("ego", black_frames(3, 96, 128), 3, (8, 6))


def test_a_ring_is_around_its_point():
    ringed = ring(torch.zeros(2, 100, 200, 3), x=0.25, y=0.6, size=0.1)
    drawn = torch.argwhere(ringed[1, ..., 0] > 0.5).double() + 0.5
    assert drawn.mean(dim=0).tolist() == pytest.approx([60, 50], abs=0.1)
    distance = (drawn - torch.tensor([60.0, 50.0])).norm(dim=1)
    assert distance.min() > 5
    assert distance.max() < 10


@pytest.mark.parametrize(
    ("frame", "expected"), [(0, [0, 16, 32, 48]), (20, [0, 20, 32, 48]), (48, [0, 16, 32, 48]), (1, [1, 16, 32, 48])]
)
def test_the_chosen_frame_is_among_the_columns(frame, expected):
    assert moments_with(frame, 49, 4) == expected


def test_a_sheet_has_a_row_a_kind_and_a_scale_a_view():
    exo = torch.tensor([1.0, 0.0, 0.0]).expand(9, 32, 64, 3)
    ego = torch.zeros(9, 32, 32, 3)
    rows = [("video", exo, ego), ("without", exo, ego)]
    moments = [0, 5, 8]
    one, two = (attention_sheet(rows, moments, [("exo", SCALE)] * count) for count in (1, 2))
    assert one.shape[0] == 1
    assert two.shape[1] > one.shape[1]
    red = (two[0] - exo[0, 0, 0]).abs().amax(dim=-1) < 0.15
    for axis, count in ((0, 3), (1, 2)):
        cells = red.any(dim=axis)
        assert (cells[1:] & ~cells[:-1]).sum() == count
    other = attention_sheet(rows, [0, 4, 8], [("exo", SCALE)] * 2)
    assert (other != two).any()  # the frame numbers are written
