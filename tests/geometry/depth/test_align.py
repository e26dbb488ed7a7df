from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from exo2ego.geometry.depth import affine_fit, align
from exo2ego.geometry.depth.align import AlignmentMethod, align_depth, static_jitter
from exo2ego.geometry.depth.depth import Depth, DepthMeaning

METHODS = list(AlignmentMethod)
F, H, W = 9, 48, 64


def clip(n_frames: int = F, height: int = H, width: int = W, seed: int = 0) -> torch.Tensor:
    """Affine-invariant inverse depth [F, H, W] of a static scene, as a temporal model gives it."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, height, width, generator=generator).expand(n_frames, height, width).clone()


def metric_of(temporal: torch.Tensor, scale: float = 0.7, offset: float = 0.05) -> torch.Tensor:
    return 1 / (scale * temporal.double() + offset)


def inverse(values: torch.Tensor) -> Depth:
    return Depth(values, DepthMeaning.INVERSE)


def metric(values: torch.Tensor) -> Depth:
    return Depth(values, DepthMeaning.METRIC)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("scale", "offset"), [(0.7, 0.05), (12.0, 0.3), (0.002, 0.0011)])
def test_known_affine_without_noise(method, scale, offset):
    temporal = clip()
    truth = metric_of(temporal, scale, offset)
    alignment = align_depth(inverse(temporal), metric(truth), method=method)
    assert (alignment.scale / scale - 1).abs().max() < 1e-5
    assert (alignment.offset / offset - 1).abs().max() < 1e-5
    assert (alignment.depth.metric() / truth - 1).abs().max() < 1e-5
    assert alignment.residual.max() < 1e-5
    assert alignment.failed_frames == ()


@pytest.mark.parametrize("method", METHODS)
def test_temporal_metric_depth_of_another_scale(method):
    truth = metric_of(clip())
    alignment = align_depth(metric(truth / 3.0), metric(truth), method=method)
    assert torch.allclose(alignment.scale, torch.full((F,), 1 / 3, dtype=torch.float64), atol=1e-5)
    assert (alignment.depth.metric() / truth - 1).abs().max() < 1e-4


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("kind", ["gross", "one-sided", "second surface"])
def test_robust_under_a_fifth_of_unmasked_outliers(kind, noise):
    temporal = clip()
    generator = torch.Generator().manual_seed(1)
    target = 0.7 * temporal + 0.05
    target = target * (1 + noise * torch.randn(F, H, W, generator=generator))
    wrong = torch.rand(F, H, W, generator=generator) < 0.2
    target[wrong] = {
        "gross": lambda: 0.05 + 5 * torch.rand(F, H, W, generator=generator)[wrong],
        "one-sided": lambda: target[wrong] * 1.5,
        "second surface": lambda: torch.full((int(wrong.sum()),), 0.9),
    }[kind]()
    given = inverse(temporal), metric(1 / target)
    alignment = align_depth(*given, method="robust")
    assert (alignment.fitted_scale / 0.7 - 1).abs().max() < 0.01
    assert (alignment.fitted_offset / 0.05 - 1).abs().max() < (0.01 if not noise else 0.05)
    plain = align_depth(*given, method="vipe")
    assert (plain.fitted_scale / 0.7 - 1).abs().min() > 0.02, "the outliers must be able to pull a fit"


def test_robust_withstands_nearly_half_the_pixels_on_another_surface():
    """Tukey's rounds alone would settle between the two surfaces: the start decides."""
    temporal = clip()
    target = 0.7 * temporal + 0.05
    other = torch.rand(F, H, W, generator=torch.Generator().manual_seed(1)) < 0.43
    target[other] = 0.2 * temporal[other] + 0.9
    alignment = align_depth(inverse(temporal), metric(1 / target), method="robust")
    assert (alignment.scale / 0.7 - 1).abs().max() < 1e-4
    assert (alignment.used - 0.57).abs().max() < 0.03


def dynamic_inside_the_band() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A true scale of 0.7, and 8 % dynamic pixels of wrong depth that lie inside the band of both depths."""
    x = clip(seed=3)
    y = 0.7 * x + 0.1
    generator = torch.Generator().manual_seed(4)
    middle = (x > 0.1) & (x < 0.9)  # x is uniform, so this is its 0.1-0.9 band
    dynamic = middle & (torch.rand(F, H, W, generator=generator) < 0.1)
    y[dynamic] = 0.7 * (0.1 + 0.8 * torch.rand(int(dynamic.sum()), generator=generator)) + 0.1
    return x, y, dynamic


@pytest.mark.parametrize("method", METHODS)
def test_masked_dynamic_pixels_inside_the_band_do_not_pull_the_fit(method):
    x, y, dynamic = dynamic_inside_the_band()
    assert dynamic.float().mean() == pytest.approx(0.08, abs=0.005)
    alignment = align_depth(inverse(x), metric(1 / y), dynamic, method=method)
    assert (alignment.fitted_scale - 0.7).abs().max() < 1e-5

    # ViPE's code: the mask chooses the target's quantiles only, then every pixel inside the band is fitted.
    frame_x, frame_y, static = x[0].double().flatten(), y[0].double().flatten(), ~dynamic[0].flatten()
    band = (frame_x >= frame_x.quantile(0.1)) & (frame_x <= frame_x.quantile(0.9))
    band &= (frame_y >= frame_y[static].quantile(0.1)) & (frame_y <= frame_y[static].quantile(0.9))
    columns = torch.stack([frame_x[band], torch.ones_like(frame_x[band])], dim=1)
    leaky = torch.linalg.lstsq(columns, frame_y[band, None]).solution[0, 0]
    assert leaky == pytest.approx(0.637, abs=0.01)
    unmasked = align_depth(inverse(x), metric(1 / y)).fitted_scale[0]
    assert unmasked == pytest.approx(float(leaky), abs=0.005), "unmasked, this fit is ViPE's"


def test_quantile_band_is_torch_quantile_of_the_masked_pixels():
    x, y, dynamic = (values.flatten(1) for values in dynamic_inside_the_band())
    x, y, usable = x.double(), y.double(), ~dynamic
    x[0, 5] = torch.nan
    usable[0, 5] = False
    usable[2] = False
    usable[3] = False
    usable[3, 100:121] = True
    band = affine_fit.quantile_band(x, y, usable, 0.1, 0.9)
    for frame in range(F):
        expected = usable[frame].clone()
        if expected.any():
            for values in (x[frame], y[frame]):
                edges = values[usable[frame]].quantile(torch.tensor([0.1, 0.9], dtype=torch.float64))
                expected &= (values >= edges[0]) & (values <= edges[1])
        assert torch.equal(band[frame], expected)
    assert not band[2].any()


def test_momentum_follows_its_recurrence():
    temporal = clip()
    scales = 0.7 + 0.05 * torch.randn(F, generator=torch.Generator().manual_seed(2))
    truth = 1 / (scales[:, None, None] * temporal + 0.1)
    alignment = align_depth(inverse(temporal), metric(truth))
    assert torch.allclose(alignment.fitted_scale, scales.double(), rtol=1e-5)
    expected = float(scales[0])
    for frame in range(F):
        if frame:
            expected = 0.99 * expected + 0.01 * float(scales[frame])
        assert float(alignment.scale[frame]) == pytest.approx(expected, rel=1e-5)
    free = align_depth(inverse(temporal), metric(truth), momentum=0.0)
    assert torch.equal(free.scale, free.fitted_scale)


def test_first_frame_still_weighs_0617_at_frame_48():
    temporal = clip(49, 8, 8)
    scales = torch.ones(49)
    scales[0] = 2.0
    alignment = align_depth(inverse(temporal), metric(1 / (scales[:, None, None] * temporal + 0.1)))
    assert float(alignment.scale[48]) - 1 == pytest.approx(0.617, abs=5e-4)


@pytest.mark.parametrize("method", METHODS)
def test_failing_frames_reuse_their_neighbours(method):
    temporal, scales = clip(), torch.linspace(0.5, 1.0, F)
    truth = 1 / (scales[:, None, None] * temporal + 0.1)
    dynamic = torch.zeros(F, H, W, dtype=torch.bool)
    dynamic[0] = True  # nothing left
    truth[3] = math.nan  # no metric depth
    temporal[5] = 0.5  # no contrast
    dynamic[6].view(-1)[3:] = True  # three pixels left
    truth[8] = 1 / (1.5 - temporal[8])  # inverted
    alignment = align_depth(inverse(temporal), metric(truth), dynamic, method=method, momentum=0.5)
    assert alignment.failed_frames == (0, 3, 5, 6, 8)
    scale = alignment.scale
    assert scale[0] == scale[1] == pytest.approx(float(scales[1]), rel=1e-4)
    assert scale[3] == scale[2]
    assert scale[5] == scale[4] == scale[6]
    assert scale[8] == scale[7]
    assert alignment.fitted_scale.isnan().nonzero().flatten().tolist() == [0, 3, 5, 6, 8]
    assert alignment.depth.valid.all(), "the temporal depth is valid everywhere"
    assert "0, 3, 5, 6, 8" in alignment.summary()


@pytest.mark.parametrize("method", METHODS)
def test_static_jitter_is_cut_at_least_five_times(method):
    generator = torch.Generator().manual_seed(5)
    steady = clip(25)
    truth = metric_of(steady, 0.5, 0.1)
    flicker = 1 + 0.05 * torch.randn(25, 1, 1, generator=generator)
    flickering = truth * flicker * (1 + 0.01 * torch.randn(25, H, W, generator=generator))
    temporal = steady + 5e-4 * torch.randn(25, H, W, generator=generator)
    moving = torch.zeros(25, H, W, dtype=torch.bool)
    moving[:, :, :10] = True
    flickering[:, :, :10] = 1 + torch.rand(25, H, 10, generator=generator)
    alignment = align_depth(inverse(temporal), metric(flickering), moving, method=method)
    assert alignment.jitter_before > 0.05
    assert alignment.jitter_after < alignment.jitter_before / 5
    text = str(alignment)
    assert f"{100 * alignment.jitter_before:.3f} % before" in text
    assert f"{100 * alignment.jitter_after:.3f} % after" in text


def test_static_jitter_by_hand():
    depth = torch.tensor([[1.0, 2.0, 5.0], [1.1, 2.0, 9.0], [1.0, 2.0, 5.0]])
    static = torch.ones(3, 3, dtype=torch.bool)
    static[1, 2] = False  # never static in two frames that follow each other
    change = 0.1 / 1.05
    assert static_jitter(depth[:, [0]], static[:, [0]]) == pytest.approx(change, rel=1e-5)
    assert static_jitter(depth[:, [0, 1, 1]], static[:, :1].expand(3, 3)) == 0.0
    assert static_jitter(depth[:, [0, 2, 2]], static[:, [0, 2, 2]]) == pytest.approx(change, rel=1e-5)
    assert math.isnan(static_jitter(depth[:, [2]], static[:, [2]]))
    assert math.isnan(static_jitter(depth[:1], static[:1]))


@pytest.mark.parametrize("method", METHODS)
def test_holes_on_either_side_and_far_points(method):
    temporal = clip()
    truth = metric_of(temporal)
    temporal[2, :10, :10] = math.nan
    truth[:, 20:30, 20:30] = 0
    temporal[:, 0, 0] = -5.0  # the affine map turns it negative
    alignment = align_depth(inverse(temporal), metric(truth), method=method)
    assert (alignment.scale / 0.7 - 1).abs().max() < 1e-5
    metres = alignment.depth.metric()
    assert (metres[2, 1:10, 1:10] == 0).all()
    assert metres[0, 0, 0] == pytest.approx(1000.0)
    assert (metres[:, 20:30, 20:30] > 0).all()


def test_another_size_of_the_same_picture_is_resized():
    temporal = clip()
    double = temporal.repeat_interleave(2, 1).repeat_interleave(2, 2)
    alignment = align_depth(inverse(double), metric(metric_of(temporal)))
    assert alignment.depth.values.shape == (F, H, W)
    assert (alignment.scale / 0.7 - 1).abs().max() < 1e-5


def test_without_a_temporal_depth_the_metric_one_comes_back_with_its_jitter():
    flickering = metric(metric_of(clip()) * torch.linspace(100, 200, F)[:, None, None])
    assert flickering.metric().max() > 1500, "beyond what inverse depth is clamped to"
    moving = torch.zeros(F, H, W, dtype=torch.bool)
    moving[:, : H // 2] = True
    alignment = align_depth(None, flickering, moving)
    assert alignment.depth is flickering
    assert alignment.jitter_after == alignment.jitter_before > 0.05
    assert (alignment.scale == 1).all()
    assert not alignment.offset.any()
    assert not alignment.residual.any()
    assert (alignment.used == 0.5).all()
    assert alignment.failed_frames == ()
    assert "before" in alignment.summary()


def test_a_constant_depth_passes_through():
    constant = metric(torch.full((F, H, W), 3.0))
    alignment = align_depth(None, constant)
    assert alignment.depth is constant
    assert alignment.jitter_before == alignment.jitter_after == 0
    with pytest.raises(ValueError, match="Expected metric depth"):
        align_depth(None, inverse(clip()))


@pytest.mark.parametrize("method", METHODS)
def test_large_maps_are_sampled(method):
    """49 frames of 600 x 600 exceed torch.quantile's limit of 16 million elements."""
    temporal = clip(49, 600, 600)
    alignment = align_depth(inverse(temporal), metric(metric_of(temporal)), method=method)
    assert (alignment.scale / 0.7 - 1).abs().max() < 1e-5
    assert alignment.used.min() > 0.75
    assert align._sample(600 * 600).numel() == 65_536


@pytest.mark.parametrize("name", ["joker", "iiith_cooking_57_2_2451_2499"])
@pytest.mark.parametrize("method", METHODS)
def test_real_depth_with_made_up_flicker_and_8_bit_temporal_depth(shared_take, name, method):
    """What arrives in the wild: an 8-bit, normalised inverse depth and a metric depth of shaky scale."""
    with np.load(shared_take(name) / "depth_f16.npz") as archive:
        metres = torch.from_numpy(archive["depth"][:13].astype(np.float32))
    true_inverse = 1 / metres
    low, high = true_inverse.aminmax()
    temporal = Depth.from_array(((true_inverse - low) / (high - low) * 255).round() / 255, "normalised inverse depth")
    generator = torch.Generator().manual_seed(6)
    flicker = 1 + 0.05 * torch.randn(13, 1, 1, generator=generator)
    alignment = align_depth(temporal, metric(metres * flicker), method=method)
    assert torch.allclose(alignment.fitted_scale, (high - low) / flicker.flatten().double(), rtol=0.01)
    assert alignment.jitter_after < alignment.jitter_before / 5
    steps_off = (1 / alignment.depth.metric() * flicker[0] - true_inverse).abs() / (high - low) * 255
    assert steps_off.median() < 1.5, "half a grey step of rounding, and what momentum lets the scale drift"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, m: align_depth(inverse(t[:5]), metric(m)), "temporal depth has 5 frames.*metric depth 9"),
        (lambda t, m: align_depth(inverse(t[:, :20]), metric(m)), "64 x 20.*64 x 48.*different parts"),
        (lambda t, m: align_depth(inverse(t), inverse(t)), "Expected metric depth"),
        (lambda t, m: align_depth(inverse(t), metric(m), torch.zeros(F, H, W)), "dynamic mask as bool"),
        (lambda t, m: align_depth(inverse(t), metric(m), torch.zeros(1, H, W, dtype=torch.bool)), "dynamic mask"),
        (
            lambda t, m: align_depth(inverse(t), metric(m), torch.ones(F, H, W, dtype=torch.bool)),
            "mask is not inverted",
        ),
        (lambda t, m: align_depth(inverse(1 - t), metric(m)), "runs against"),
        (lambda t, m: align_depth(inverse(torch.ones_like(t)), metric(m)), "no contrast"),
        (lambda t, m: align_depth(inverse(t), metric(m), momentum=1.0), r"\[0, 1\)"),
        (lambda t, m: align_depth(inverse(t), metric(m), method="best"), "best"),
        (lambda t, m: align_depth(inverse(t), metric(torch.full_like(t, math.nan))), "No depth of the 9 frames"),
        (lambda t, m: align_depth(inverse(t), metric(torch.zeros_like(t))), "No depth of the 9 frames"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    temporal = clip()
    with pytest.raises(ValueError, match=message):
        call(temporal, metric_of(temporal))


def test_progress_reports_and_cancels():
    temporal = clip()
    seen = []
    align_depth(inverse(temporal), metric(metric_of(temporal)), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, F) for i in range(F)]

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        align_depth(inverse(temporal), metric(metric_of(temporal)), progress=cancel)
