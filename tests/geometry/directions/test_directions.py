from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.presets import LensPreset, preset_lens
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.directions.directions import GGADirections, GGAGeometry, gga_directions
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.takes.egox.read import read_take

GOLDEN_TAKES = ["joker", "iiith_cooking_57_2_2451_2499"]
RELEASE_GRID = {"latent_frames": 13, "exo_tokens": (28, 49), "ego_tokens": (28, 28)}

# A general size: 5 frames, exo 64 x 96, ego 48 x 80 pixels.
SMALL_GRID = {"latent_frames": 2, "exo_tokens": (4, 6), "ego_tokens": (3, 5)}


def pose(position=(0.0, 0.0, 0.0), angles=(0.0, 0.0, 0.0)) -> torch.Tensor:
    return pose_from_angles(position, angles)


def wall_seen_from(camera: Camera, distance: float) -> Depth:
    """Depth maps of the wall z = distance in the world, exact."""
    rays = torch.stack([camera.rays(frame) for frame in range(camera.n_frames)])  # [F, H, W, 3]
    centers = camera.centers[:, None, None]
    points = centers + rays * ((distance - centers[..., 2:]) / rays[..., 2:])
    z = torch.stack([camera.project(points[frame], frame)[1] for frame in range(camera.n_frames)])
    return Depth(z, DepthMeaning.METRIC)


def small_scene(ego_lens=None) -> tuple[Camera, Depth, Camera]:
    """A moving ego camera before a wall that a fixed exo camera sees obliquely."""
    exo = Camera(Pinhole(70.0, 70.0, 48.0, 32.0), 96, 64, pose((0.3, -0.1, -1.0), (5.0, 2.0, 1.0)))
    path = torch.stack([pose((0.1 * i, 0.02 * i, 0.4), (4.0 * i - 8, -3.0, 2.0 * i)) for i in range(5)])
    ego = Camera(ego_lens or Pinhole(30.0, 30.0, 40.0, 24.0), 80, 48, path)
    return exo, wall_seen_from(exo.expanded(5), 2.0), ego


def cosines(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(queries, keys, dim=-1)


def golden_pairs(golden, found: GGADirections) -> tuple[torch.Tensor, ...]:
    """The directions of the golden file's pairs; it gives token numbers, a few of them not of ego and exo."""
    q_frame, q_row, q_column = released_token(golden["pair_q"])
    k_frame, k_row, k_column = released_token(golden["pair_k"])
    q = found.ego_queries[q_frame, q_row, (q_column - 49).clamp_min(0)]
    k = found.exo_keys[q_frame, k_frame, k_row, k_column.clamp_max(48)]
    return q, k, (q_column >= 49) & (k_column < 49)


def released_token(number: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frame, row and column of tokens in the released layout: 28 rows of 49 exo and 28 ego columns a frame."""
    frame, rest = np.divmod(number, 28 * 77)
    return tuple(torch.from_numpy(part).long() for part in (frame, *np.divmod(rest, 77)))


@pytest.mark.parametrize("name", GOLDEN_TAKES)
def test_as_released_equals_the_released_code(shared_take, name):
    folder = shared_take(name)
    golden = np.load(folder / "gga_golden.npz")
    take = read_take(folder)
    found = gga_directions(take.exo_camera, take.depth, take.ego_camera, **RELEASE_GRID)

    queries, keys = torch.from_numpy(golden["q_dir"]), torch.from_numpy(golden["k_dir"])
    assert (found.ego_queries - queries).abs().max() <= 1e-5
    assert (found.exo_keys - keys).abs().max() <= 1e-4
    sums = [
        value
        for tensor in (found.ego_queries, found.exo_keys)
        for value in (float(tensor.double().sum()), float(tensor.double().abs().sum()))
    ]
    assert sums == pytest.approx(golden["checksum"][:4].tolist(), rel=1e-5, abs=1e-2)

    q, k, counts = golden_pairs(golden, found)
    assert counts.sum() > 1500
    q, k, cosine = q[counts], k[counts], torch.from_numpy(golden["pair_cos"])[counts]
    assert ((q * k).sum(-1) - cosine).abs().max() <= 1e-4
    for strength, field in ((3.0, "bias_lam3"), (1.0, "bias_lam1")):
        bias = GGABias(GGAForm.RELEASE, strength)(q[:, None], k[:, None])[:, 0, 0]
        error = (bias - torch.from_numpy(golden[field])[counts]).abs()
        assert error[cosine > -0.99].max() <= 1e-3


def test_undistortion_of_the_released_grid_equals_opencv(shared_data):
    from exo2ego.geometry.directions import release as directions_release

    expected = torch.from_numpy(np.load(shared_data / "aria_undistort5_56x56.npy")).double().reshape(56, 56, 2)
    upright = Camera(Pinhole(1, 1, 0, 0), 448, 448, torch.eye(4)).turned_clockwise()  # the sensor's rotation is unity
    rays = directions_release.released_rays(upright, (28, 28))[0]
    local = torch.nn.functional.normalize(torch.cat([expected, torch.ones(56, 56, 1)], dim=-1), dim=-1)
    turned = torch.rot90(local, -1, (0, 1)).reshape(28, 2, 28, 2, 3).mean(dim=(1, 3))
    assert (rays - turned).abs().max() < 1e-6


def test_as_trained_is_the_formula_written_out():
    exo, depth, ego = small_scene()
    ego = Camera(ego.lens, 64, 64, ego.world_to_camera)
    grid = {**SMALL_GRID, "ego_tokens": (28, 28)}
    found = gga_directions(exo, depth, ego, **grid, geometry=GGAGeometry.AS_TRAINED).ego_queries
    focal, center = 150 / 8, 255.5 / 8
    for row, column in ((0, 0), (3, 20), (27, 27)):
        for latent, frame in ((0, 0), (1, 4)):
            upright = ego.rotations[frame]
            sensor = torch.stack([upright[1], -upright[0], upright[2]])  # x = y', y = -x' of the upright axes
            mean = torch.zeros(3, dtype=torch.float64)
            for v in (2 * row, 2 * row + 1):
                for u in (2 * column, 2 * column + 1):
                    ray = torch.tensor([(u - center) / focal, (v - center) / focal, 1.0], dtype=torch.float64)
                    x, y, z = sensor @ (ray / ray.norm())
                    mean += torch.stack([-y, x, z]) / 4
            assert (found[latent, row, column] - mean).abs().max() < 1e-6


@pytest.mark.parametrize("geometry", list(GGAGeometry))
def test_general_sizes(geometry):
    exo, depth, ego = small_scene()
    found = gga_directions(exo, depth, ego, **SMALL_GRID, geometry=geometry)
    assert found.ego_queries.shape == (2, 3, 5, 3)
    assert found.exo_keys.shape == (2, 2, 4, 6, 3)
    assert found.ego_queries.dtype == found.exo_keys.dtype == torch.float32
    lengths = torch.cat([found.ego_queries.reshape(-1, 3), found.exo_keys.reshape(-1, 3)]).norm(dim=-1)
    if geometry in (GGAGeometry.PHYSICAL, GGAGeometry.PAPER_AVERAGE):
        assert (lengths - 1).abs().max() < 1e-6
    else:
        assert 0.5 < lengths.min() < 1.0 - 1e-4  # means of differing unit vectors, as they are
        assert lengths.max() <= 1.0


LENSES = [Pinhole(30.0, 31.0, 41.0, 23.0), preset_lens(LensPreset.EGOX_RELEASE, 80, 48)]


@pytest.mark.parametrize("geometry", [GGAGeometry.PHYSICAL, GGAGeometry.PAPER_AVERAGE])
@pytest.mark.parametrize("lens", LENSES, ids=["pinhole", "fisheye"])
def test_a_point_that_both_cameras_see_has_one_direction(lens, geometry):
    """End to end: lens, turn and poses agree, so an ego token looks at the exo token that shows the same point."""
    exo, depth, ego = small_scene(lens)
    # An ego camera that stands still, so that the average over four frames has one centre and one direction.
    ego = ego[2]
    found = gga_directions(exo, depth, ego, **SMALL_GRID, geometry=geometry)
    compared = 0
    for row in range(4):
        for column in range(6):
            window = (slice(16 * row + 7, 16 * row + 9), slice(16 * column + 7, 16 * column + 9))
            points = exo.unproject(depth.metric()[:1].double())[0][window].reshape(-1, 3)
            pixel, _, valid = ego.project(points.mean(dim=0))
            ego_column, ego_row = (pixel / 16).tolist()
            if not valid or not (0 <= ego_column < 5 and 0 <= ego_row < 3):
                continue
            query = found.ego_queries[0, int(ego_row), int(ego_column)]
            # The key lies inside the query's token: at most half a token's diagonal away from its middle.
            ray = ego.lens.unproject(
                torch.tensor([[16 * (int(ego_column) + 0.5), 16 * (int(ego_row) + 0.5)], pixel.tolist()]).double()
            )
            offset = math.acos(min(1.0, float(ray[0] @ ray[1])))
            key = found.exo_keys[0, 0, row, column]
            assert math.acos(min(1.0, float(query @ key))) == pytest.approx(offset, abs=0.03)
            compared += 1
    assert compared >= 4


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_physical_directions_turn_with_the_image(turns):
    exo, depth, ego = small_scene(preset_lens(LensPreset.EGOX_RELEASE, 80, 80))
    ego = Camera(ego.lens, 80, 80, ego.world_to_camera)
    grid = {**SMALL_GRID, "ego_tokens": (5, 5)}
    plain = gga_directions(exo, depth, ego, **grid, geometry=GGAGeometry.PHYSICAL)
    turned = gga_directions(exo, depth, ego.turned_clockwise(turns), **grid, geometry=GGAGeometry.PHYSICAL)
    assert (turned.ego_queries - torch.rot90(plain.ego_queries, -turns, (1, 2))).abs().max() < 1e-5
    assert torch.allclose(turned.exo_keys, plain.exo_keys, atol=1e-6)


@pytest.mark.parametrize("geometry", list(GGAGeometry))
def test_keys_are_seen_from_the_centre_of_the_query_frame(geometry):
    exo, depth, ego = small_scene()
    keys = gga_directions(exo, depth, ego, **SMALL_GRID, geometry=geometry).exo_keys
    # The wall stands still, so a key's frame makes no difference and the query's frame does.
    assert torch.allclose(keys[:, 0], keys[:, 1], atol=1e-6)
    assert (keys[0] - keys[1]).abs().max() > 0.05
    group = slice(1, 5) if geometry is GGAGeometry.PAPER_AVERAGE else slice(4, 5)
    center = ego.centers[group].mean(dim=0)
    window = (slice(32, 48), slice(48, 64))
    points = exo.unproject(depth.metric()[:1].double())[0][window].reshape(-1, 3)
    assert cosines(points.mean(dim=0) - center, keys[1, 0, 2, 3].double()) > 0.9999


def test_paper_average_is_the_mean_over_all_pixels_and_frames():
    exo, depth, ego = small_scene(preset_lens(LensPreset.EGOX_RELEASE, 80, 48))
    depth = Depth(depth.values * (1 + 0.05 * torch.arange(5.0))[:, None, None], DepthMeaning.METRIC)
    found = gga_directions(exo, depth, ego, **SMALL_GRID, geometry=GGAGeometry.PAPER_AVERAGE)
    world = exo.unproject(depth.metric().double())  # [5, 64, 96, 3]
    rays = torch.stack([ego.rays(frame) for frame in range(5)])  # [5, 48, 80, 3]
    groups = {0: [0], 1: [1, 2, 3, 4]}
    for query_frame, query_group in groups.items():
        mean = rays[query_group][:, 16:32, 32:48].mean(dim=(0, 1, 2))
        expected = mean / mean.norm()
        assert (found.ego_queries[query_frame, 1, 2] - expected).abs().max() < 1e-5
        center = ego.centers[query_group].mean(dim=0)
        for key_frame, key_group in groups.items():
            offsets = world[key_group][:, 48:64, 16:32] - center
            mean = (offsets / offsets.norm(dim=-1, keepdim=True)).mean(dim=(0, 1, 2))
            expected = mean / mean.norm()
            assert (found.exo_keys[query_frame, key_frame, 3, 1] - expected).abs().max() < 1e-5


def test_paper_form_of_opposite_and_equal_directions():
    """Eq. 5: g is 0 for opposite directions, 2 for equal ones, and symmetric."""
    exo, depth, ego = small_scene()
    found = gga_directions(exo, depth, ego, **SMALL_GRID, geometry=GGAGeometry.PAPER_AVERAGE)
    bias = GGABias(GGAForm.PAPER, 1.0)
    keys = found.exo_keys[0, 0].reshape(-1, 3).double()
    keys = keys / keys.norm(dim=-1, keepdim=True)
    g = torch.exp(bias(keys, keys))
    assert torch.allclose(g.diagonal(), torch.tensor(2.0, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(g, g.T, atol=1e-9)
    assert torch.exp(bias(-keys, keys)).diagonal().max() < 1e-5


@pytest.mark.parametrize("geometry", list(GGAGeometry))
def test_missing_depth_is_left_out_and_zero_where_nothing_remains(geometry):
    exo, depth, ego = small_scene()
    plain = gga_directions(exo, depth, ego, **SMALL_GRID, geometry=geometry).exo_keys
    holed = depth.values.clone()
    holed[:, :16, :16] = float("nan")  # the whole token (0, 0)
    holed[:, 32:40, 32:48] = 0.0  # the upper half of the token (2, 2)
    holed[:, 43, 32:48] = 0.0  # and half of what its lower places are interpolated from
    keys = gga_directions(exo, Depth(holed, DepthMeaning.METRIC), ego, **SMALL_GRID, geometry=geometry).exo_keys
    assert torch.equal(keys[:, :, 0, 0], torch.zeros(2, 2, 3))
    assert keys.isfinite().all()
    # What is left of the other token still points at its lower half, not at some camera centre.
    window = (slice(40, 48), slice(32, 48))
    point = exo.unproject(depth.metric()[:1].double())[0][window].reshape(-1, 3).mean(dim=0)
    center = ego.centers[0]
    assert cosines(point - center, keys[0, 0, 2, 2].double()) > 0.9995
    untouched = torch.ones(4, 6, dtype=torch.bool)
    untouched[0, 0] = untouched[2, 2] = False
    assert torch.equal(keys[:, :, untouched], plain[:, :, untouched])


def test_a_fixed_ego_camera_equals_its_repetition():
    exo, depth, ego = small_scene()
    for geometry in GGAGeometry:
        fixed = gga_directions(exo, depth, ego[1], **SMALL_GRID, geometry=geometry)
        repeated = gga_directions(exo, depth, ego[1].expanded(5), **SMALL_GRID, geometry=geometry)
        assert torch.equal(fixed.exo_keys, repeated.exo_keys)
        assert torch.equal(fixed.ego_queries, repeated.ego_queries)


def test_a_moving_exo_camera_counts_frame_by_frame():
    exo, _, ego = small_scene()
    path = torch.stack([pose((0.1 * i, 0.0, -1.0), (3.0 * i, 0.0, 0.0)) for i in range(5)])
    moving = Camera(exo.lens, 96, 64, path)
    for geometry in (GGAGeometry.PHYSICAL, GGAGeometry.AS_RELEASED):
        depth = wall_seen_from(moving, 2.0)
        both = gga_directions(moving, depth, ego, **SMALL_GRID, geometry=geometry).exo_keys
        last = gga_directions(
            moving[4],
            Depth(depth.values[4:], DepthMeaning.METRIC),
            ego[4],
            latent_frames=1,
            exo_tokens=(4, 6),
            ego_tokens=(3, 5),
            geometry=geometry,
        ).exo_keys
        assert torch.allclose(both[1, 1], last[0, 0], atol=1e-6)


def test_unfit_input_is_refused():
    exo, depth, ego = small_scene()
    with pytest.raises(ValueError, match="3 latent frames stand for 9 frames"):
        gga_directions(exo, depth, ego, **{**SMALL_GRID, "latent_frames": 3})
    with pytest.raises(ValueError, match="metric"):
        gga_directions(exo, Depth(depth.values, DepthMeaning.INVERSE), ego, **SMALL_GRID)
    with pytest.raises(ValueError, match="poses"):
        gga_directions(exo, depth, ego[:3], **SMALL_GRID)
    with pytest.raises(ValueError, match="positive token grids"):
        gga_directions(exo, depth, ego, **{**SMALL_GRID, "exo_tokens": (0, 6)})
    with pytest.raises(ValueError, match=r"exo depth is 96 x 64.*exo part of the video is 112 x 64.*Crop"):
        gga_directions(exo, depth, ego, **{**SMALL_GRID, "exo_tokens": (4, 7)})
    for geometry in (GGAGeometry.PHYSICAL, GGAGeometry.PAPER_AVERAGE):
        with pytest.raises(ValueError, match=r"ego camera is .*ego part of the video is 96 x 48"):
            gga_directions(exo, depth, ego, **{**SMALL_GRID, "ego_tokens": (3, 6)}, geometry=geometry)
    with pytest.raises(ValueError, match="Resize"):
        gga_directions(exo.resized(48, 32), depth, ego, **SMALL_GRID)


def test_progress_counts_up_and_may_cancel():
    exo, depth, ego = small_scene()
    calls = []
    gga_directions(exo, depth, ego, **SMALL_GRID, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]

    def cancel(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        gga_directions(exo, depth, ego, **SMALL_GRID, geometry=GGAGeometry.PAPER_AVERAGE, progress=cancel)
