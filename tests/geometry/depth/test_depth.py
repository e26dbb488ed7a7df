from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from support.elsewhere import Elsewhere

METRIC, INVERSE, NORMALISED = DepthMeaning.METRIC, DepthMeaning.INVERSE, DepthMeaning.NORMALISED_INVERSE


def room(n_frames: int = 3, height: int = 40, width: int = 60) -> torch.Tensor:
    """Metric depth [F, H, W] of a floor that rises into a wall at 16 m: the lower rows are near."""
    rows = torch.arange(height) + 0.5 - 0.2 * height
    floor = 1.5 * 0.9 * height / rows.clamp_min(1e-3)
    depth = floor.clamp(max=16.0)[:, None] + 0.2 * torch.linspace(0, 1, width)
    return depth.expand(n_frames, height, width) * torch.linspace(1, 1.01, n_frames)[:, None, None]


def minmax(x: torch.Tensor) -> torch.Tensor:
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    return (x - low) / (high - low)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -2.0])
def test_invalid_metres_are_zero_and_not_valid(bad):
    raw = room()
    raw = raw.clone()
    raw[1, 3, 4] = bad
    depth = Depth.from_array(raw, METRIC)
    assert depth.values[1, 3, 4] == 0
    assert not depth.valid[1, 3, 4]
    assert depth.valid.sum() == raw.numel() - 1
    assert depth.inverse()[1, 3, 4].isnan()
    assert torch.equal(depth.metric()[0], raw[0])


def test_inverse_depth_keeps_zero_and_negative_values():
    raw = minmax(1 / room()) - 0.1
    raw[0, 0, 0] = math.inf
    depth = Depth.from_array(raw, INVERSE)
    assert (~depth.valid).nonzero().tolist() == [[0, 0, 0]]
    assert depth.inverse()[0, 0, 0].isnan()
    with pytest.raises(ValueError, match="Align it to a metric depth"):
        depth.metric()


@pytest.mark.parametrize("meaning", list(DepthMeaning))
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_nothing_valid_anywhere_is_an_error_with_advice(meaning, value):
    near_far = (0.5, 10.0) if meaning is NORMALISED else (None, None)
    with pytest.raises(ValueError, match=r"No depth of the 2 frames is a positive number.*Check"):
        Depth.from_array(torch.full((2, 4, 5), value), meaning, *near_far)
    with pytest.raises(ValueError, match="No depth of the 2 frames"):
        Depth.from_images(torch.full((2, 4, 5, 3), value), meaning)


def test_near_and_far_give_metres():
    depth = Depth.from_array(torch.tensor([[[0.0, 0.5, 1.0]]]), NORMALISED, near=0.5, far=10.0)
    assert depth.meaning is METRIC
    assert depth.values[0, 0].tolist() == pytest.approx([10.0, 1 / (0.5 * (2 - 0.1) + 0.1), 0.5], rel=1e-6)
    truth = room()
    near, far = float(truth[0].min()), float(truth[0].max())
    again = Depth.from_array(minmax(1 / truth[:1]), NORMALISED, near=near, far=far)
    assert torch.allclose(again.metric(), truth[:1], rtol=1e-5)
    endless = Depth.from_array(torch.tensor([[[0.0, 1.0]]]), NORMALISED, near=2.0, far=math.inf)
    assert endless.values.tolist() == [[[0.0, 2.0]]]
    assert Depth.from_array(minmax(1 / truth), NORMALISED).meaning is INVERSE


@pytest.mark.parametrize(
    ("meaning", "near", "far", "message"),
    [
        (NORMALISED, 1.0, None, "both near and far"),
        (NORMALISED, 2.0, 1.0, "0 < near < far"),
        (NORMALISED, 0.0, 1.0, "0 < near < far"),
        (METRIC, 1.0, 2.0, "belong to normalised inverse depth"),
    ],
)
def test_bad_near_and_far(meaning, near, far, message):
    with pytest.raises(ValueError, match=message):
        Depth.from_array(room(), meaning, near, far)


def test_shapes_and_types_of_input():
    raw = room()
    for given in (raw.numpy().astype(np.float64), raw[..., None], raw.to(torch.float64), raw[..., None].numpy()):
        assert torch.allclose(Depth.from_array(given, METRIC).values, raw)
    assert Depth.from_array(raw[0], METRIC).n_frames == 1
    assert Depth.from_array(torch.tensor([[1, 2]], dtype=torch.int16), METRIC).values.dtype == torch.float32
    image = raw[..., None].repeat(1, 1, 1, 4)
    image[..., 3] = 1  # alpha
    assert torch.equal(Depth.from_images(image, METRIC).values, raw)
    assert torch.equal(Depth.from_images(raw[..., None], METRIC).values, raw)
    for bad in (raw[None, None], torch.zeros(0, 4, 4), raw.bool(), np.array([["a"]])):
        with pytest.raises(ValueError, match="Expected"):
            Depth.from_array(bad, METRIC)
    with pytest.raises(ValueError, match="Expected images"):
        Depth.from_images(raw, METRIC)
    with pytest.raises(ValueError, match=r"from_array"):
        Depth(raw, NORMALISED)


def test_input_of_another_device_is_brought_to_the_cpu():
    metres = 1 + torch.rand(2, 4, 6)
    for depth in (
        Depth(Elsewhere(metres), DepthMeaning.METRIC),
        Depth.from_array(Elsewhere(metres), DepthMeaning.METRIC),
        Depth.from_images(Elsewhere(metres[..., None].expand(2, 4, 6, 3)), DepthMeaning.METRIC),
    ):
        assert type(depth.values) is torch.Tensor
        assert torch.equal(depth.values, metres)


def test_input_is_not_changed():
    raw = room().clone()
    raw[0, 0, 0] = math.nan
    before = raw.clone()
    Depth.from_array(raw, METRIC)
    Depth.from_images(raw[..., None], INVERSE)
    assert torch.equal(raw.nan_to_num(-1), before.nan_to_num(-1))


def test_resizing_takes_the_pixel_under_the_centre():
    row = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    depth = Depth(row.expand(1, 2, 6), METRIC)
    # Centres of three pixels over six: 1.0, 3.0, 5.0, so columns 1, 3 and 5; of four: 0.75, 2.25, 3.75, 5.25.
    assert depth.resized(3, 2).values[0, 0].tolist() == [2, 4, 6]
    assert depth.resized(4, 2).values[0, 0].tolist() == [1, 3, 4, 6]
    assert depth.resized(12, 4).values[0, 3].tolist() == [v for v in row.tolist() for _ in range(2)]


@pytest.mark.parametrize("size", [(31, 17), (97, 61), (30, 20)])
def test_resizing_invents_no_value(size):
    raw = room(1).clone()
    raw[:, 5:9, 7:15] = math.nan
    raw[:, 20:, 30:] = 1.25
    for meaning, bad in ((METRIC, 0.0), (INVERSE, -9.0)):
        depth = Depth.from_array(raw, meaning)
        resized = depth.resized(*size)
        assert resized.values.shape == (1, size[1], size[0])
        known = set(depth.values.nan_to_num(bad).unique().tolist())
        assert set(resized.values.nan_to_num(bad).unique().tolist()) <= known
        assert not resized.valid.all()


def test_cropping():
    depth = Depth.from_array(room(), METRIC)
    assert torch.equal(depth.cropped(6, 4, 30, 20).values, depth.values[:, 4:24, 6:36])
    with pytest.raises(ValueError, match="leaves the depth of 60 x 40"):
        depth.cropped(50, 0, 20, 10)


def test_description():
    raw = room().clone()
    raw[:, 30:] = math.nan
    text = Depth.from_array(raw, METRIC).describe()
    for part in ("metric depth", "3 frames of 60 x 40", "16.36 m", "75.0 %"):
        assert part in text, text


@pytest.mark.parametrize(
    ("make", "meaning"),
    [
        (lambda z: z, METRIC),
        (lambda z: 1 / z, INVERSE),
        (lambda z: 20 / z - 1, INVERSE),
        (lambda z: minmax(1 / z), NORMALISED),
        (lambda z: (minmax(1 / z) * 255).round() / 255, NORMALISED),
    ],
)
def test_right_declarations_raise_no_warning(make, meaning):
    assert Depth.from_array(make(room()), meaning).contradictions() == []


@pytest.mark.parametrize(
    ("make", "meaning", "message"),
    [
        (lambda z: minmax(1 / z), METRIC, "look normalised"),
        (lambda z: 1 - minmax(z), METRIC, "look normalised"),
        (lambda z: 1000 * z, METRIC, "millimetres"),
        (lambda z: 3 / z, METRIC, "may be inverse"),
        (lambda z: z, NORMALISED, "instead of 0 to 1"),
        (lambda z: minmax(z), NORMALISED, "looks inverted"),
        (lambda z: z, INVERSE, "looks inverted"),
        (lambda z: 1 - minmax(1 / z), NORMALISED, "looks inverted"),
        (lambda z: 1 - minmax(z), NORMALISED, "MoGe"),
        (lambda z: torch.full_like(z, 0.5), NORMALISED, "same value"),
        (lambda z: torch.cat([z, torch.full_like(z[:1], 3.0)]), METRIC, "1 frames hold one value only.*frame 3"),
    ],
)
def test_contradicting_data_gets_a_warning(make, meaning, message):
    (warning,) = Depth.from_array(make(room()), meaning).contradictions()
    assert re.search(message, warning), warning


def test_colours_get_a_warning_and_the_mean():
    grey = minmax(1 / room())[..., None].repeat(1, 1, 1, 3)
    assert Depth.from_images(grey + 0.004 * torch.rand_like(grey), NORMALISED).contradictions() == []
    colours = torch.cat([grey[..., :1], grey[..., :1] ** 2, 0.5 * grey[..., :1]], dim=-1)
    depth = Depth.from_images(colours, NORMALISED)
    assert "colored" in depth.contradictions()[0]
    assert torch.allclose(depth.values, colours.mean(dim=-1))


@pytest.mark.parametrize("name", ["joker", "iiith_cooking_57_2_2451_2499"])
def test_real_depth_is_told_from_other_forms_of_itself(shared_take, name):
    with np.load(shared_take(name) / "depth_f16.npz") as archive:
        metres = torch.from_numpy(archive["depth"][::12].astype(np.float32))
    assert Depth.from_array(metres, METRIC).contradictions() == []
    assert Depth.from_array(1 / metres, INVERSE).contradictions() == []
    assert Depth.from_array(minmax(1 / metres), NORMALISED).contradictions() == []
    for wrong, meaning, message in (
        (minmax(1 / metres), METRIC, "look normalised"),
        (1 / metres, METRIC, "may be inverse"),
        (metres, INVERSE, "inverted"),
        (minmax(metres), NORMALISED, "inverted"),
        (1 - minmax(metres), NORMALISED, "MoGe"),
    ):
        (warning,) = Depth.from_array(wrong, meaning).contradictions()
        assert message in warning
