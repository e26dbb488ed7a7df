"""Contact sheet and side-by-side video: sizes, order and moments."""

import pytest
import torch

from exo2ego.nodes.drawings.contact_sheet import contact_sheet, side_by_side


def _plain(color, n_frames=9, height=32, width=48):
    return torch.tensor(color).expand(n_frames, height, width, 3)


def _has(sheet, color):
    """Columns of the sheet that hold the colour somewhere."""
    return (sheet[0] - torch.tensor(color)).abs().amax(dim=-1).lt(0.02).any(dim=0)


def test_rows_and_columns_of_a_sheet():
    red, green = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    sheet = contact_sheet([("wide", _plain(red)), ("none", None), ("square", _plain(green, width=32))], times=3)
    assert sheet.ndim == 4
    assert sheet.shape[0] == 1
    red_cells = (_has(sheet, red)[1:] & ~_has(sheet, red)[:-1]).sum()
    green_cells = (_has(sheet, green)[1:] & ~_has(sheet, green)[:-1]).sum()
    assert red_cells == green_cells == 3
    # All rows have one height: the wide video covers 3/2 of the square one's columns.
    assert _has(sheet, red).sum() == pytest.approx(1.5 * _has(sheet, green).sum().item(), abs=3)
    assert (sheet[0] == 0).all(dim=-1).sum() == 0


def test_moments_run_from_the_first_frame_to_the_last():
    ramp = torch.linspace(0, 1, 9)[:, None, None, None].expand(9, 32, 32, 3)
    sheet = contact_sheet([("ramp", ramp)], times=5, row_height=32)
    centres = [8 + column * 40 + 16 for column in range(5)]
    assert torch.allclose(sheet[0, -24, centres, 0], torch.linspace(0, 1, 5), atol=0.01)


def test_labels_are_written():
    blank = contact_sheet([("", _plain((0.0, 0.0, 1.0)))])
    written = contact_sheet([("ego prior", _plain((0.0, 0.0, 1.0)))])
    assert blank.shape == written.shape
    assert (blank != written).any()


def test_a_sheet_of_nothing():
    with pytest.raises(ValueError, match="at least one video"):
        contact_sheet([("exo", None)])


def test_side_by_side_scales_and_cuts():
    left, right = _plain((1.0, 0.0, 0.0), n_frames=5), _plain((0.0, 0.0, 1.0), n_frames=7, height=64, width=64)
    joined = side_by_side([left, right])
    assert joined.shape == (5, 32, 48 + 32, 3)
    assert torch.equal(joined[:, :, :48], left)
    assert torch.allclose(joined[:, :, 48:], torch.tensor((0.0, 0.0, 1.0)))


def test_alpha_is_left_out():
    rgb = _plain((0.2, 0.4, 0.6))
    rgba = torch.cat([rgb, torch.zeros_like(rgb[..., :1])], dim=-1)
    assert torch.equal(contact_sheet([("ego", rgba)]), contact_sheet([("ego", rgb)]))
    assert torch.equal(side_by_side([rgb, rgba]), side_by_side([rgb, rgb]))


def test_side_by_side_rejects_another_shape():
    with pytest.raises(ValueError, match="video 1"):
        side_by_side([_plain((1.0, 0.0, 0.0)), torch.zeros(32, 32, 3)])
