from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points import rasterizer_pytorch3d, rasterizer_torch
from exo2ego.geometry.points.compositing import composite, compositing_weights
from exo2ego.geometry.points.fragments import Fragments, Raster, Splats
from exo2ego.geometry.points.point_cloud import PointCloud
from exo2ego.geometry.points.renderer import RenderBackend, Rendering, render_points
from exo2ego.geometry.points.threads import n_threads_on
from support import rasterizer_reference, standin_pytorch3d
from support.random_points import (
    BUDGET,
    RASTERS,
    assert_same,
    ego_camera,
    random_cloud,
    random_splats,
)

NONE = torch.zeros(0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", RASTERS)
def test_fast_rasteriser_equals_its_twin(case, dtype):
    raster, n, options = RASTERS[case]
    splats = random_splats(raster, n, dtype, **options)
    expected = rasterizer_reference.rasterize(splats, raster)
    found = rasterizer_torch.rasterize(splats, raster, BUDGET)
    assert_same(found, expected, 1e-6 if dtype is torch.float32 else 1e-14)
    assert found.alpha.dtype is dtype


@pytest.mark.parametrize("budget", [1, 20_000, 300_000])
def test_portions_do_not_change_the_result(budget):
    raster = Raster(2, 24, 40, 4.0, 6)
    splats = random_splats(raster, 700)
    whole = rasterizer_torch.rasterize(splats, raster, BUDGET)
    assert rasterizer_torch.splats_within(budget, raster) < 700
    assert_same(rasterizer_torch.rasterize(splats, raster, budget), whole, 0.0)


@pytest.mark.parametrize("strip", [Raster(2, 7, 40, 4.0, 6, top=9), Raster(2, 1, 40, 4.0, 6, top=23)])
def test_a_strip_is_a_part_of_the_image(strip, pytorch3d):
    """Row by row the same points and, to the last bit, the same opacities, by all rasterisers."""
    image = Raster(2, 24, 40, 4.0, 6)
    splats = random_splats(image, 700)
    whole, found = (rasterizer_torch.rasterize(splats, raster, BUDGET) for raster in (image, strip))
    row = whole.pixel // 40 % 24
    inside = (row >= strip.top) & (row < strip.top + strip.height)
    assert torch.equal(found.point, whole.point[inside])
    assert torch.equal(found.alpha, whole.alpha[inside])
    assert_same(found, rasterizer_reference.rasterize(splats, strip), 1e-6)
    assert_same(found, rasterizer_pytorch3d.rasterize(splats, strip), 1e-5)


def test_keys_of_32_and_of_64_bits_give_the_same():
    """One image whose keys need 64 bits, and the same in strips whose keys have 32."""
    image = Raster(1, 512, 512, 3.0, 4)
    splats = random_splats(image, 20_000)
    assert splats.pixels.max() > 500
    assert image.height * image.width * 2**15 > 2**31, "20,000 ranks have 15 bits"
    whole = rasterizer_torch.rasterize(splats, image, BUDGET)
    for top in range(0, 512, 64):
        strip = Raster(1, 64, 512, 3.0, 4, top=top)
        touching = (splats.pixels[:, 1] > top - 3) & (splats.pixels[:, 1] < top + 67)
        index = touching.nonzero()[:, 0]
        assert 64 * 512 * 2 ** len(index).bit_length() < 2**31
        found = rasterizer_torch.rasterize(
            Splats(splats.pixels[index], splats.z[index], splats.image[index]), strip, BUDGET
        )
        inside = (whole.pixel // 512 >= top) & (whole.pixel // 512 < top + 64)
        assert torch.equal(torch.where(found.point < 0, -1, index[found.point]), whole.point[inside])
        assert torch.equal(found.alpha, whole.alpha[inside])


def test_a_disc_is_open_and_fades_with_the_squared_distance():
    splats = Splats(torch.tensor([[4.5, 4.5]]), torch.tensor([2.0]), torch.tensor([0]))
    fragments = rasterizer_torch.rasterize(splats, Raster(1, 9, 9, 2.0, 1), BUDGET)
    alpha = torch.zeros(81)
    alpha[fragments.pixel] = fragments.alpha[:, 0]
    alpha = alpha.view(9, 9)
    assert alpha[4, 2:7].tolist() == [0.0, 0.75, 1.0, 0.75, 0.0]
    assert alpha[3, 3] == 0.5
    assert len(fragments.pixel) == 9  # those at distance 2 are not touched


def test_compositing_is_front_to_back_and_not_normalised():
    alpha = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.0, 0.0], [1.0, 0.9, 0.3]])
    weights = compositing_weights(alpha)
    assert torch.allclose(weights, torch.tensor([[0.5, 0.25, 0.0], [0.2, 0.0, 0.0], [1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("n_points", [0, 1, 30])
def test_compositing_sums_the_weighted_features(n_points):
    point = torch.full((7, 4), -1) if n_points == 0 else torch.randint(-1, n_points, (7, 4))
    weights = torch.rand(7, 4).masked_fill(point < 0, 0)
    features = torch.rand(n_points, 3)
    sums = composite(Fragments(torch.arange(7), point, weights), weights, features)
    expected = torch.zeros(7, 3)
    for pixel, slot in (point >= 0).nonzero().tolist():
        expected[pixel] += weights[pixel, slot] * features[point[pixel, slot]]
    assert torch.allclose(sums, expected, atol=1e-6)


def test_any_number_of_threads_renders_the_same_to_the_last_bit():
    cloud, camera = random_cloud(5, 400), ego_camera(5, width=400, height=200)  # three strips a frame
    before = torch.get_num_threads()
    try:
        pictures = []
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            pictures.append(render_points(cloud, camera, radius=30.0))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(pictures[0].color, pictures[1].color)
    assert torch.equal(pictures[0].depth, pictures[1].depth)


# PyTorch3D ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pytorch3d(monkeypatch):
    """PyTorch3D where it is installed, else its documented behaviour."""
    if importlib.util.find_spec("pytorch3d") is None:
        for name, module in standin_pytorch3d.modules().items():
            monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("size", [(12, 12), (9, 14), (14, 9)])
def test_pytorch3d_gives_the_same_fragments(pytorch3d, size):
    raster = Raster(2, *size, 2.7, 4)
    splats = random_splats(raster, 60, seed=3)
    found = rasterizer_pytorch3d.rasterize(splats, raster)
    assert_same(found, rasterizer_torch.rasterize(splats, raster, BUDGET), 1e-5)


def test_pytorch3d_backend_renders_the_same_image(pytorch3d):
    cloud, camera = random_cloud(2, 40), ego_camera(2, width=14, height=10)
    ours = render_points(cloud, camera, radius=90.0)
    theirs = render_points(cloud, camera, radius=90.0, backend="pytorch3d")
    assert ours.coverage.float().mean() > 0.2
    assert (ours.color - theirs.color).abs().max() < 1e-4
    assert (ours.depth - theirs.depth).abs().max() < 1e-4


@pytest.mark.skipif(importlib.util.find_spec("pytorch3d") is not None, reason="PyTorch3D is installed here")
def test_pytorch3d_chosen_but_absent_is_an_error():
    with pytest.raises(ValueError, match="not installed"):
        render_points(random_cloud(1, 5), ego_camera(1), backend=RenderBackend.PYTORCH3D)


def test_pytorch3d_without_points_and_with_too_many_slots(pytorch3d):
    raster = Raster(1, 8, 8, 2.0, 4)
    assert rasterizer_pytorch3d.rasterize(random_splats(raster, 0), raster).point.shape == (0, 4)
    with pytest.raises(ValueError, match="at most 150"):
        rasterizer_pytorch3d.rasterize(random_splats(raster, 5), Raster(1, 8, 8, 2.0, 151))


# The renderer ---------------------------------------------------------------------------------------------------


def reference_rendering(
    cloud: PointCloud, camera: Camera, radius: float, points_per_pixel: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Color, depth and coverage by the renderer's definition, frame by frame with the slow rasteriser."""
    raster = Raster(1, camera.height, camera.width, radius, points_per_pixel)
    colors, depths = [], []
    for frame in range(cloud.n_frames):
        points, point_colors = cloud.frame(frame)
        pixels, z, valid = camera.project(points, frame)
        splats = Splats(pixels[valid], z[valid], torch.zeros(int(valid.sum()), dtype=torch.int64))
        fragments = rasterizer_reference.rasterize(splats, raster)
        color, depth = torch.zeros(camera.height * camera.width, 3), torch.zeros(camera.height * camera.width)
        for pixel, chosen, alphas in zip(fragments.pixel, fragments.point, fragments.alpha):
            left, total = 1.0, 0.0
            for point, alpha in zip(chosen[chosen >= 0], alphas):
                color[pixel] += left * alpha * point_colors[valid][point]
                depth[pixel] += left * alpha * splats.z[point]
                total += left * alpha
                left *= 1 - alpha
            depth[pixel] /= total
        colors.append(color.view(camera.height, camera.width, 3))
        depths.append(depth.view(camera.height, camera.width))
    color = torch.stack(colors)
    return color, torch.stack(depths), (color >= 0.01).any(dim=-1)


LENSES = {"pinhole": None, "fisheye": preset_lens(LensPreset.EGOX_RELEASE, 40, 30)}


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("lens", LENSES)
def test_rendering_equals_its_definition(lens, fixed):
    cloud, camera = random_cloud(3, 120), ego_camera(3, LENSES[lens])
    camera = camera[1] if fixed else camera
    found = render_points(cloud, camera, radius=3.0 * 448 / 30, points_per_pixel=6)
    color, depth, coverage = reference_rendering(cloud, camera, 3.0, 6)
    assert 0.2 < found.coverage.float().mean() < 0.98
    assert (found.color - color).abs().max() < 1e-5
    assert (found.depth - depth).abs().max() < 1e-4
    assert torch.equal(found.coverage, coverage)
    assert torch.equal(found.mask, coverage.float())
    assert torch.allclose(found.coverage_percent, 100 * coverage.flatten(1).float().mean(dim=1))
    without = render_points(cloud, camera, radius=3.0 * 448 / 30, points_per_pixel=6, keep_depth=False)
    assert without.depth is None
    assert torch.equal(without.color, found.color)


def test_batches_and_strips_do_not_change_the_image_and_report_progress():
    cloud, camera = random_cloud(5, 100), ego_camera(5)
    frame = 30 * 40 * 20 * 64  # bytes of a frame's fragments
    calls: list[tuple[int, int]] = []

    def rendered(budget: int) -> Rendering:
        calls.clear()
        return render_points(
            cloud,
            camera,
            radius=45.0,
            memory_budget_bytes=budget * n_threads_on("cpu"),
            progress=lambda *c: calls.append(c),
        )

    together = rendered(2**33)
    assert calls == [(5, 5)]
    for budget, units in ((2 * frame, 5), (2 * frame - 2, 10), (2 * frame // 7, 5 * 8), (1, 150)):
        found = rendered(budget)
        assert calls == [(unit + 1, units) for unit in range(units)], "each strip of each frame, where there are any"
        assert torch.equal(found.color, together.color)
        assert torch.equal(found.depth, together.depth)


def test_the_temporaries_of_a_large_frame_stay_within_the_budget():
    """Measured in a process of its own, from the page counts of the kernel."""
    if "VmHWM" not in (Path("/proc/self/status").read_text() if sys.platform == "linux" else ""):
        pytest.skip("the memory of a process is measured on Linux only")
    script = Path(__file__).parents[2] / "support" / "renderer_memory.py"
    result = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
    peak, budget = (float(value) for value in result.stdout.split())
    assert peak < budget, f"{peak:.0f} MiB for a budget of {budget:.0f} MiB"


def test_one_frame_of_points_serves_a_path():
    cloud, camera = random_cloud(1, 100), ego_camera(3)
    found = render_points(cloud, camera, radius=45.0)
    assert found.color.shape == (3, 30, 40, 3)
    assert torch.equal(found.color[2], render_points(cloud, camera[2], radius=45.0).color[0])
    assert not torch.equal(found.color[2], found.color[0])


def test_empty_cloud_and_points_behind_are_black():
    empty = PointCloud(NONE, NONE, (NONE, NONE), (NONE, NONE))
    behind = PointCloud(NONE, NONE, (torch.tensor([[0.0, 0.0, -2.0], [float("nan"), 0.0, 1.0]]),), (torch.ones(2, 3),))
    for cloud in (empty, behind):
        for lens in LENSES.values():
            found = render_points(cloud, ego_camera(1, lens))
            assert found.color.shape == (cloud.n_frames, 30, 40, 3)
            assert not found.color.any()
            assert not found.depth.any()
            assert not found.coverage.any()
            assert found.coverage_percent.tolist() == [0.0] * cloud.n_frames


def test_the_radius_grows_with_the_image():
    cloud = PointCloud(NONE, NONE, (torch.tensor([[0.0, 0.0, 1.0]]),), (torch.ones(1, 3),))
    areas = []
    for scale in (1, 2):
        camera = Camera(
            Pinhole(100.0 * scale, 100.0 * scale, 112.5 * scale, 112.5 * scale), 225 * scale, 225 * scale, torch.eye(4)
        )
        areas.append(float((render_points(cloud, camera, radius=20.0).depth > 0).sum()))
    assert areas[0] == pytest.approx(torch.pi * (20 * 225 / 448) ** 2, rel=0.05)
    assert areas[1] == pytest.approx(4 * areas[0], rel=0.05)


def test_depth_is_that_of_the_surface_in_front():
    """A near sheet hides a far one; depth is in metres even at rims, where the colour fades."""
    row, column = torch.meshgrid(torch.arange(-80, 81), torch.arange(-80, 81), indexing="ij")
    plane = torch.stack([column, row, torch.zeros_like(row)], dim=-1).reshape(-1, 3) * 0.0125
    near, far = plane[plane[:, 0] < 0] + torch.tensor([0.0, 0.0, 1.0]), plane * 3 + torch.tensor([0.0, 0.0, 3.0])
    cloud = PointCloud(far, torch.full_like(far, 0.5), (near,), (torch.ones_like(near),))
    camera = Camera(Pinhole(40.0, 40.0, 32.0, 24.0), 64, 48, torch.eye(4))
    found = render_points(cloud, camera, radius=25.0)
    assert (found.depth[0, 10:38, 8:28] - 1).abs().max() < 1e-3
    assert (found.depth[0, 10:38, 38:56] - 3).abs().max() < 1e-3
    assert (found.color[0, 10:38, 8:28] > 0.9).all()


def test_cancel_leaves_by_the_exception():
    def cancel(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        render_points(random_cloud(2, 10), ego_camera(2), progress=cancel)


def test_unfit_input_is_refused():
    with pytest.raises(ValueError, match="3 frames and the camera 2 poses"):
        render_points(random_cloud(3, 5), ego_camera(2))
    with pytest.raises(ValueError, match="positive radius"):
        render_points(random_cloud(1, 5), ego_camera(1), radius=0.0)
    with pytest.raises(ValueError, match="positive radius"):
        render_points(random_cloud(1, 5), ego_camera(1), points_per_pixel=0)
    with pytest.raises(ValueError, match="torch or pytorch3d"):
        render_points(random_cloud(1, 5), ego_camera(1), backend="opengl")


# Against truth --------------------------------------------------------------------------------------------------


def walls_seen_from(camera: Camera) -> torch.Tensor:
    """World points of every pixel [H, W, 3] of a room's back wall and slanted floor, exact."""
    rays, center = camera.rays(), camera.centers[0]
    distance = torch.full(rays.shape[:2], float("inf"), dtype=torch.float64)
    for normal, offset in (((0.0, 0.0, 1.0), 2.0), ((0.1, 1.0, 0.35), 1.1)):
        normal = torch.tensor(normal, dtype=torch.float64)
        along = (offset - normal @ center) / (rays @ normal)
        distance = torch.where((along > 0) & (along < distance), along, distance)
    return center + rays * distance[..., None]


EXO = Camera(Pinhole(300.0, 300.0, 240.0, 160.0), 480, 320, pose_from_angles((0.0, 0.0, -0.5), (0.0, 0.0, 0.0)))
TRUTH_LENSES = {
    "pinhole": Pinhole(130.0, 130.0, 112.0, 112.0),
    "fisheye": preset_lens(LensPreset.EGOX_RELEASE, 224, 224),
}


def spot_errors(image: torch.Tensor, ego: Camera, spots: torch.Tensor, window: float) -> list[float]:
    """Distance in pixels between where bright spots [S, 3] project and their centroids in an image [H, W]."""
    pixels, _, valid = ego.project(spots)
    inside = valid & ((pixels > window) & (pixels < 224 - window)).all(dim=-1)
    errors = []
    for pixel in pixels[inside]:
        offsets = ego.pixel_grid() - pixel
        weight = image * (offsets.square().sum(-1) < window**2)
        if weight.sum() > 1:
            errors.append(float((offsets * weight[..., None]).sum(dim=(0, 1)).div(weight.sum()).norm()))
    return errors


@pytest.mark.parametrize("lens", TRUTH_LENSES)
def test_single_points_land_where_they_project(lens):
    ego = Camera(TRUTH_LENSES[lens], 224, 224, pose_from_angles((0.25, -0.1, 0.3), (12.0, -6.0, 8.0)))
    spots = walls_seen_from(EXO)[20::60, 20::66].reshape(-1, 3)
    cloud = PointCloud(NONE, NONE, (spots.float(),), (torch.ones(len(spots), 3),))
    image = render_points(cloud, ego, radius=6.0).color[0, ..., 0].double()
    errors = spot_errors(image, ego, spots, 4.0)
    assert len(errors) >= 12
    assert max(errors) < 0.2, errors


@pytest.mark.parametrize("lens", TRUTH_LENSES)
def test_features_of_surfaces_land_where_they_project(lens):
    """From an exo picture with exact depth to the ego view: bright spots on walls, within half a pixel.

    Discs are small here: where many overlap the nearest points win, which shifts what lies on a slanted surface by
    up to a radius (see `render_points`).
    """
    ego = Camera(TRUTH_LENSES[lens], 224, 224, pose_from_angles((0.25, -0.1, 0.3), (12.0, -6.0, 8.0)))
    world = walls_seen_from(EXO)
    spots = world[40::60, 40::66].reshape(-1, 3)
    size = 0.03  # metres
    brightness = torch.exp(-(world[..., None, :] - spots).square().sum(-1) / (2 * size**2)).sum(-1).clamp_max(1)
    seen = torch.isfinite(world).all(dim=-1)
    colors = brightness[..., None].expand(-1, -1, 3)
    cloud = PointCloud(NONE, NONE, (world[seen].float(),), (colors[seen].float(),))
    image = render_points(cloud, ego, radius=1.2).color[0, ..., 0].double()
    errors = spot_errors(image, ego, spots, 7.0)
    assert len(errors) >= 12
    assert max(errors) < 0.5, errors
