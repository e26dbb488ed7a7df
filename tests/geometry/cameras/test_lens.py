from __future__ import annotations

import json
import math

import pytest
import torch

from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.lenses import lens_from_json, lens_kinds, lens_to_json
from exo2ego.geometry.lenses.brown_conrady import BrownConrady
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.opencv_fisheye import OpenCVFisheye
from exo2ego.geometry.lenses.pinhole import Pinhole

ARIA = preset_lens(LensPreset.EGOX_RELEASE, 448, 448)
# Strong decentring: the sign and order of every coefficient shows.
CROOKED = Fisheye624(
    200.0, 230.0, 210.0, (0.1, -0.05, 0.01, 0.0, 0.0, 0.0), (0.02, -0.03), (0.01, -0.004, 0.007, 0.003)
)
GOPRO = OpenCVFisheye(180.0, 175.0, 220.0, 230.0, (0.05, -0.02, 0.01, -0.004))
PHONE = BrownConrady(420.0, 430.0, 226.0, 221.0, (-0.2, 0.05, 0.003, -0.004, 0.01, 0.02, -0.01, 0.002))
LENSES = [Pinhole(300.0, 310.0, 224.5, 220.0), ARIA, CROOKED, GOPRO, PHONE]


def pixels_inside(lens, count: int = 4000) -> torch.Tensor:
    """Pixels of a 448 px image that the lens sees."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 448
    rays = lens.unproject(pixels)
    angle = torch.acos(rays[:, 2].clamp(-1, 1))
    widest = math.atan(lens.max_radius) if isinstance(lens, BrownConrady) else getattr(lens, "max_angle", math.pi)
    return pixels[angle < widest - 1e-3]


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


def camera_frame_points() -> torch.Tensor:
    """Points within 30 degrees of the axis, [500, 3]."""
    chance = torch.Generator().manual_seed(4)
    xy = (torch.rand(500, 2, generator=chance, dtype=torch.float64) - 0.5) * 0.8
    return torch.cat([xy, torch.ones(500, 1, dtype=torch.float64)], dim=-1) * 2.5


def test_the_opencv_fisheye_equals_kornia():
    from kornia.geometry.camera.distortion_kannala_brandt import distort_points_kannala_brandt

    points = camera_frame_points()
    numbers = torch.tensor([180.0, 175.0, 220.0, 230.0, 0.05, -0.02, 0.01, -0.004], dtype=torch.float64)
    theirs = distort_points_kannala_brandt(points[:, :2] / points[:, 2:], numbers)
    pixels, seen = GOPRO.project(points)
    assert seen.all()
    assert (pixels - theirs).abs().max() < 1e-9


def test_brown_conrady_equals_kornia():
    from kornia.geometry.calibration import distort_points

    points = camera_frame_points()
    matrix = torch.tensor([[420.0, 0, 226.0], [0, 430.0, 221.0], [0, 0, 1]], dtype=torch.float64)
    coefficients = torch.tensor([PHONE.distortion], dtype=torch.float64)  # OpenCV's order
    undistorted = (points / points[:, 2:]) @ matrix.T
    theirs = distort_points(undistorted[None, :, :2], matrix[None], coefficients)[0]
    pixels, seen = PHONE.project(points)
    assert seen.all()
    assert (pixels - theirs).abs().max() < 1e-9


def test_a_barrel_sees_no_further_than_it_grows():
    barrel = BrownConrady(300.0, 300.0, 200.0, 200.0, (-0.3, 0, 0, 0, 0, 0, 0, 0))
    assert barrel.max_radius == pytest.approx(math.sqrt(1 / 0.9), abs=1e-2)  # r (1 - 0.3 r^2) grows up to there
    _, seen = barrel.project(torch.tensor([[1.0, 0.0, 1.0], [1.2, 0.0, 1.0]]))
    assert seen.tolist() == [True, False]
    assert torch.isfinite(barrel.unproject(torch.tensor([[5000.0, -5000.0]]))).all()


@pytest.mark.parametrize("lens", LENSES)
def test_numbers_and_json_restore_a_lens(lens):
    assert len(lens.row()) == len(lens.number_names)
    assert type(lens).from_row(lens.row()) == lens
    assert lens_from_json(json.loads(json.dumps(lens_to_json(lens)))) == lens


def test_every_lens_is_known_by_its_name():
    assert {lens.name: type(lens) for lens in LENSES} == lens_kinds()
    assert [kind.__name__ for kind in lens_kinds().values() if kind.is_pinhole] == ["Pinhole"]
    with pytest.raises(ValueError, match="pinhole"):
        lens_from_json({"type": "panorama"})


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
        (lambda: OpenCVFisheye(1.0, 1.0, 0.0, 0.0, (1.0,)), "4 radial"),
        (lambda: BrownConrady.from_row([1.0, 1.0, 0.0]), "4 to 12 numbers .fx, fy, cx, cy, k1"),
        (lambda: ARIA.scaled(1.0, 1.2), "aspect ratio"),
        (lambda: Pinhole.from_fov(180, 10, 10), "between 0 and 180"),
        (lambda: preset_lens(LensPreset.OWN, 10, 10), "own"),
    ],
)
def test_bad_lenses_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
