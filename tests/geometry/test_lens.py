from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.lens import Fisheye624, Pinhole
from exo2ego.geometry.presets import LensPreset, preset_lens

ARIA = preset_lens(LensPreset.EGOX_RELEASE, 448, 448)
# Strong decentring: the sign and order of every coefficient shows.
CROOKED = Fisheye624(
    200.0, 230.0, 210.0, (0.1, -0.05, 0.01, 0.0, 0.0, 0.0), (0.02, -0.03), (0.01, -0.004, 0.007, 0.003)
)
LENSES = [Pinhole(300.0, 310.0, 224.5, 220.0), ARIA, CROOKED]


def pixels_inside(lens, count: int = 4000) -> torch.Tensor:
    """Pixels of a 448 px image that the lens sees."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 448
    rays = lens.unproject(pixels)
    angle = torch.acos(rays[:, 2].clamp(-1, 1))
    return pixels[angle < getattr(lens, "max_angle", math.pi) - 1e-3]


@pytest.mark.parametrize("lens", LENSES)
def test_unproject_inverts_project(lens):
    pixels = pixels_inside(lens)
    assert len(pixels) > 3000
    rays = lens.unproject(pixels)
    assert torch.allclose(rays.norm(dim=-1), torch.ones_like(rays[:, 0]), atol=1e-12)
    again, valid = lens.project(rays * 3.7)
    assert valid.all()
    assert (again - pixels).abs().max() < 1e-6


def test_fisheye_formula_written_out():
    """One point computed by hand from the model's definition."""
    x, y, z = 0.4, -0.3, 1.0
    r = math.hypot(x, y)
    theta = math.atan(r)
    k1, k2, k3 = CROOKED.radial[:3]
    t = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6)
    a, b = t * x / r, t * y / r
    q = a * a + b * b
    (p1, p2), (s1, s2, s3, s4) = CROOKED.tangential, CROOKED.thin_prism
    u = a + (2 * a * a + q) * p1 + 2 * a * b * p2 + s1 * q + s2 * q * q
    v = b + (2 * b * b + q) * p2 + 2 * a * b * p1 + s3 * q + s4 * q * q
    pixel, _ = CROOKED.project(torch.tensor([x, y, z], dtype=torch.float64))
    assert pixel.tolist() == pytest.approx([200 * u + 230, 200 * v + 210], abs=1e-9)


def test_points_behind_and_outside_the_field_are_invalid():
    points = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.1, 0.0, 1.0], [1e4, 0.0, 1.0]])
    assert CROOKED.project(points)[1].tolist()[:3] == [False, False, True]
    folding = Fisheye624(200.0, 224.0, 224.0, radial=(-0.3, 0, 0, 0, 0, 0))
    assert folding.max_angle == pytest.approx(math.sqrt(1 / 0.9), abs=1e-3)
    assert not folding.project(points)[1][3]
    assert torch.isfinite(folding.project(points)[0]).all()


@pytest.mark.parametrize("lens", LENSES)
def test_scaling_and_cropping_keep_rays(lens):
    pixels = pixels_inside(lens, 200)
    rays = lens.unproject(pixels)
    assert torch.allclose(lens.scaled(0.5, 0.5).unproject(pixels / 2), rays, atol=1e-9)
    assert torch.allclose(lens.cropped(10, 20).unproject(pixels - pixels.new_tensor([10, 20])), rays, atol=1e-9)


@pytest.mark.parametrize("lens", LENSES)
def test_quarter_turn_moves_pixels_and_axes_together(lens):
    pixels = pixels_inside(lens, 200)
    x, y, z = lens.unproject(pixels).unbind(-1)
    turned = lens.turned_clockwise(448, 400)
    expected = torch.stack([400 - pixels[:, 1], pixels[:, 0]], dim=-1)
    assert torch.allclose(turned.project(torch.stack([-y, x, z], dim=-1))[0], expected, atol=1e-6)


def test_presets_scale_with_the_image():
    wide = preset_lens(LensPreset.EGOX_RELEASE, 896, 448)
    assert wide.cx == pytest.approx(ARIA.cx + 224)
    assert preset_lens(LensPreset.EGOX_RELEASE, 224, 224).focal == pytest.approx(ARIA.focal / 2)
    pinhole = preset_lens(LensPreset.PINHOLE, 400, 300, fov_degrees=90)
    assert (pinhole.fx, pinhole.cx, pinhole.cy) == pytest.approx((200, 200, 150))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pinhole(0.0, 1.0, 0.0, 0.0), "positive focal"),
        (lambda: Pinhole(float("nan"), 1.0, 0.0, 0.0), "finite"),
        (lambda: Fisheye624(1.0, 0.0, 0.0, radial=(1.0,)), "6 radial"),
        (lambda: ARIA.scaled(1.0, 1.2), "aspect ratio"),
        (lambda: Pinhole.from_fov(180, 10, 10), "between 0 and 180"),
        (lambda: preset_lens(LensPreset.OWN, 10, 10), "own"),
    ],
)
def test_bad_lenses_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
