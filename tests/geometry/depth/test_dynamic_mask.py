from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.depth.dynamic_mask import estimate_dynamic, mask_to_frames
from support.elsewhere import Elsewhere

F, H, W = 11, 60, 80


def clip_with_a_walker(noise: float = 0.01) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [F, H, W, 3] with a square of 12 px that walks right, and where it is [F, H, W]."""
    generator = torch.Generator().manual_seed(0)
    images = 0.2 + 0.3 * torch.rand(1, H, W, 3, generator=generator).repeat(F, 1, 1, 1)
    images += noise * torch.randn(F, H, W, 3, generator=generator)
    walker = torch.zeros(F, H, W, dtype=torch.bool)
    for frame in range(F):
        walker[frame, 20:32, 6 * frame : 6 * frame + 12] = True
    images[walker] = 0.9
    return images, walker


def grown(mask: torch.Tensor, by: int) -> torch.Tensor:
    return torch.nn.functional.max_pool2d(mask[:, None].float(), 2 * by + 1, 1, by)[:, 0] > 0


def test_a_walker_is_found_and_grown():
    images, walker = clip_with_a_walker()
    dynamic = estimate_dynamic(images)
    # A 3x3 erosion takes 1 px, an 11x11 dilation gives 5: grown by 4.
    assert torch.equal(dynamic, grown(walker, 4))
    assert torch.equal(estimate_dynamic(images, erosion=1, dilation=1), walker)
    assert torch.equal(estimate_dynamic(images, erosion=3, dilation=3), walker)


@pytest.mark.parametrize(("change", "moves"), [(24 / 255, False), (26 / 255, True)])
def test_one_channel_is_enough(change, moves):
    images = torch.full((F, H, W, 3), 0.5)
    images[4, 20:40, 20:40, 1] -= change
    dynamic = estimate_dynamic(images)
    assert bool(dynamic[4, 30, 30]) is moves
    assert not dynamic[5].any()


def test_morphology_equals_its_definition_up_to_the_border():
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(F, H, W, 3)
    blob = torch.nn.functional.avg_pool2d(torch.rand(1, 1, H, W, generator=generator), 5, 1, 2)[0, 0] > 0.5
    images[3, blob] = 1.0
    raw = estimate_dynamic(images, erosion=1, dilation=1)
    assert torch.equal(raw[3], blob)
    eroded = ~grown(~raw, 1)
    eroded &= raw
    assert torch.equal(estimate_dynamic(images), grown(eroded, 5))


def test_specks_go():
    images, _ = clip_with_a_walker()
    images[:] = 0.5
    images[4, 10, 10] = 1.0
    images[5, 30:32, 30:32] = 1.0
    assert not estimate_dynamic(images).any()


@pytest.mark.parametrize(("factor", "moves"), [(1.05, False), (1.07, True), (0.93, True), (math.nan, False)])
def test_depth_tells_what_colour_does_not(factor, moves):
    images = torch.full((F, H, W, 3), 0.5)
    metres = torch.full((F, H, W), 4.0)
    metres[2, 20:40, 20:40] *= factor
    metres[:, 50:, 70:] = 0.0
    dynamic = estimate_dynamic(images, Depth.from_array(metres, DepthMeaning.METRIC))
    assert bool(dynamic[2, 30, 30]) is moves
    assert not dynamic[:, 55, 75].any()
    assert not dynamic[3].any()


@pytest.mark.parametrize("flicker", [0.03, 0.05, 0.1, 0.3])
def test_a_depth_whose_scale_flickers_stands_still(flicker):
    """As DepthPro gives it: every frame of another scale, noise on top, a hole that comes and goes."""
    generator = torch.Generator().manual_seed(2)
    images = torch.full((F, H, W, 3), 0.5)
    scales = 1 + flicker * torch.randn(F, 1, 1, generator=generator)
    metres = (1 + 5 * torch.rand(1, H, W, generator=generator)) * scales
    metres = metres * (1 + 0.01 * torch.randn(F, H, W, generator=generator))
    metres[::2, :10, :10] = 0.0
    dynamic = estimate_dynamic(images, Depth(metres, DepthMeaning.METRIC))
    assert not dynamic.any()
    metres[2, 20:40, 20:40] *= 1.2
    dynamic = estimate_dynamic(images, Depth(metres, DepthMeaning.METRIC))
    assert dynamic[2, 20:40, 20:40].all(), "what moves is seen all the same"
    assert dynamic.float().mean() < 0.02


def test_frames_repeated_by_expand_stand_still():
    """A still picture repeated without memory of its own (stride 0), and its depth."""
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(1, H, W, 3, generator=generator).expand(F, H, W, 3)
    metres = (1 + torch.rand(1, H, W, generator=generator)).expand(F, H, W)
    assert not estimate_dynamic(images, Depth(metres, DepthMeaning.METRIC), erosion=1).any()


def test_images_and_masks_of_another_device_are_brought_to_the_cpu():
    images, walker = clip_with_a_walker()
    depth = Depth(Elsewhere(torch.ones(F, H, W)), DepthMeaning.METRIC)
    assert torch.equal(estimate_dynamic(Elsewhere(images), depth), grown(walker, 4))
    assert torch.equal(mask_to_frames(Elsewhere(walker.float()), F, 2 * H, 2 * W)[:, ::2, ::2], walker)


def test_progress_reports_and_cancels():
    images, _ = clip_with_a_walker()
    seen = []
    estimate_dynamic(images, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(frame, F) for frame in range(1, F + 1)]

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        estimate_dynamic(images, progress=cancel)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, d: estimate_dynamic(i[0]), r"Expected images \[F, H, W, 3\]"),
        (lambda i, d: estimate_dynamic(i, d, dilation=10), "odd number"),
        (lambda i, d: estimate_dynamic(i[:5], d), "cut them alike"),
        (lambda i, d: estimate_dynamic(i, Depth(d.inverse(), DepthMeaning.INVERSE)), "align the depth first"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.rand(F, H, W, 3), Depth(1 + torch.rand(F, H, W), DepthMeaning.METRIC))


def test_masks_of_other_shapes():
    mask = torch.zeros(F, H, W)
    mask[3, 10:20, 30:50] = 0.8
    expected = mask > 0.5
    assert torch.equal(mask_to_frames(mask, F, H, W), expected)
    assert torch.equal(mask_to_frames(mask.bool(), F, H, W), expected)
    assert torch.equal(mask_to_frames(mask[..., None], F, H, W), expected)
    for one in (mask[3], mask[3:4]):
        assert torch.equal(mask_to_frames(one, F, H, W), expected[3:4].expand(F, H, W))
    double = mask_to_frames(mask, F, 2 * H, 2 * W)
    assert torch.equal(double, expected.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert torch.equal(mask_to_frames(double, F, H, W), expected)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(5, H, W), f"5 frames and the clip {F}"),
        (torch.zeros(F, H, W, 3), "Convert an image to a mask"),
        (torch.zeros(0, H, W), "Expected a mask"),
    ],
)
def test_bad_masks_say_what_is_wrong(mask, message):
    with pytest.raises(ValueError, match=message):
        mask_to_frames(mask, F, H, W)


def test_somebody_who_fills_most_of_a_frame_does_not_set_its_scale():
    images, metres = torch.full((9, 40, 60, 3), 0.5), torch.full((9, 40, 60), 4.0)
    images[:4, :, :36], metres[:4, :, :36] = 0.9, 1.5
    dynamic = estimate_dynamic(images, Depth(metres, DepthMeaning.METRIC))
    assert dynamic[:4, :, :30].all()
    assert not dynamic[:, :, 45:].any()
