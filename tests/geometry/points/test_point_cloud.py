from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.depth.reliability import reliable_mask
from exo2ego.geometry.lenses.fisheye624 import Fisheye624
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.point_cloud import Background, PointCloud, build_point_cloud
from support.elsewhere import Elsewhere

F, H, W = 4, 24, 32


def pose(degrees: float, shift: float = 0.0) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    matrix[:3, 3] = torch.tensor([0.2 + shift, -0.1, 0.4], dtype=torch.float64)
    return matrix


FIXED = Camera(Pinhole(30.0, 31.0, 15.0, 13.0), W, H, pose(25.0))
FISHEYE = Camera(Fisheye624(20.0, 16.0, 12.0, radial=(0.1, 0, 0, 0, 0, 0)), W, H, pose(25.0))
MOVING = Camera(Pinhole(30.0, 31.0, 15.0, 13.0), W, H, torch.stack([pose(5.0 * i, 0.1 * i) for i in range(F)]))


def smooth_depth() -> torch.Tensor:
    ramp = 3 + 0.02 * torch.arange(W) + 0.01 * torch.arange(H)[:, None]
    return ramp.expand(F, H, W) * (1 + 0.01 * torch.arange(F))[:, None, None]


def images() -> torch.Tensor:
    return torch.rand(F, H, W, 3, generator=torch.Generator().manual_seed(0))


def metric(values: torch.Tensor) -> Depth:
    return Depth(values, DepthMeaning.METRIC)


@pytest.mark.parametrize("camera", [FIXED, MOVING, FISHEYE])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_per_frame_points_are_the_unprojected_pixels(camera, stride):
    metres, colors = smooth_depth(), images()
    cloud = build_point_cloud(colors, metric(metres), camera, background="per frame", stride=stride)
    world = camera.unproject(metres)[:, ::stride, ::stride]
    assert cloud.background_points.shape == (0, 3)
    assert cloud.n_frames == F
    for frame in range(F):
        points, point_colors = cloud.frame(frame)
        assert torch.allclose(points, world[frame].reshape(-1, 3), atol=1e-5)
        assert (point_colors - colors[frame, ::stride, ::stride].reshape(-1, 3)).abs().max() <= 0.5 / 255 + 1e-6
        assert torch.equal((point_colors * 255).round() / 255, point_colors)
    again = build_point_cloud(colors, metric(metres), camera, background="per frame", quantise_colors=False)
    assert torch.equal(again.frame_colors[0], colors[0, ::2, ::2].reshape(-1, 3))


def reliable_by_hand(depth_map, row, column):
    window = depth_map[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
    return depth_map[row, column] > 0 and (window.max() - window.min()) / window.mean() < 0.1


def mean_background_by_hand(colors, metres, dynamic, camera, stride):
    """The release's order: average each pixel's static, reliable depth and colour, unproject what is reliable still."""
    mean_depth, mean_color = torch.zeros(1, H, W), torch.zeros(H, W, 3)
    for row in range(H):
        for column in range(W):
            frames = [
                frame
                for frame in range(F)
                if reliable_by_hand(metres[frame], row, column) and not dynamic[frame, row, column]
            ]
            if frames:
                mean_depth[0, row, column] = metres[frames, row, column].mean()
                mean_color[row, column] = colors[frames, row, column].mean(dim=0)
    world = camera.unproject(mean_depth)[0]
    kept = [
        (row, column)
        for row in range(0, H, stride)
        for column in range(0, W, stride)
        if reliable_by_hand(mean_depth[0], row, column)
    ]
    rows, columns = torch.tensor(kept).T
    return world[rows, columns], (mean_color[rows, columns] * 255).round() / 255


@pytest.mark.parametrize("stride", [2, 3])
def test_mean_background_equals_the_plain_twin(stride):
    colors, metres = images(), smooth_depth().clone()
    metres[:, :, 20:] *= 1.5  # a depth edge
    metres[1, 3:6, 3:6] = 0.0  # a hole in one frame
    metres[:, 18:21, 4:8] = 0.0  # a hole in all
    dynamic = torch.zeros(F, H, W, dtype=torch.bool)
    dynamic[2, :12, :12] = True
    dynamic[:, 10:14, 26:30] = True
    cloud = build_point_cloud(colors, metric(metres), FIXED, dynamic=dynamic, stride=stride)
    points, point_colors = mean_background_by_hand(colors, metres, dynamic, FIXED, stride)
    assert torch.allclose(cloud.background_points, points, atol=1e-5)
    assert (cloud.background_colors - point_colors).abs().max() < 1.01 / 255
    assert ((cloud.background_colors - point_colors).abs() > 1e-5).float().mean() < 0.01, "but for ties of rounding"
    assert len(points) < len(range(0, H, stride)) * len(range(0, W, stride))

    world = FIXED.unproject(metres)
    for frame in range(F):
        chosen = (dynamic & reliable_mask(metres))[frame, ::stride, ::stride]
        assert torch.allclose(cloud.frame_points[frame], world[frame, ::stride, ::stride][chosen], atol=1e-5)
    without = build_point_cloud(colors, metric(metres), FIXED, dynamic=dynamic, dynamic_points=False, stride=stride)
    assert torch.equal(without.background_points, cloud.background_points)
    assert all(len(points) == 0 for points in without.frame_points)
    assert without.n_frames == F


def test_reliability_mask_equals_its_definition():
    generator = torch.Generator().manual_seed(2)
    depth = 2 + 0.15 * torch.rand(2, 15, 18, generator=generator)
    depth[:, 8:] += 0.05
    depth[1, 4, 4] = 0
    for window, threshold in ((5, 0.1), (5, 0.07), (3, 0.05), (1, 0.1)):
        mask = reliable_mask(depth, window, threshold)
        half = window // 2
        for f in range(2):
            for r in range(15):
                for c in range(18):
                    part = depth[f, max(0, r - half) : r + half + 1, max(0, c - half) : c + half + 1]
                    expected = depth[f, r, c] > 0 and (part.max() - part.min()) / part.mean() < threshold
                    assert bool(mask[f, r, c]) == bool(expected), (window, f, r, c)
    assert reliable_mask(depth, 5, 0.07).float().mean() > 0.05
    assert not reliable_mask(depth)[1, 2:7, 2:7].any()
    assert reliable_mask(depth, 5, 10.0).logical_not().nonzero().tolist() == [[1, 4, 4]], "a hole is never reliable"
    with pytest.raises(ValueError, match="odd number"):
        reliable_mask(depth, 4)
    with pytest.raises(ValueError, match=r"\[F, H, W\]"):
        reliable_mask(depth[0])


def test_images_of_another_device_are_brought_to_the_cpu():
    colors, metres = images(), smooth_depth()
    dynamic = torch.zeros(F, H, W, dtype=torch.bool)
    dynamic[1, :10, :10] = True
    expected = build_point_cloud(colors, metric(metres), FIXED, dynamic=dynamic)
    cloud = build_point_cloud(Elsewhere(colors), metric(Elsewhere(metres)), FIXED, dynamic=Elsewhere(dynamic))
    for found, wanted in zip(cloud.frame(1), expected.frame(1)):
        assert type(found) is torch.Tensor
        assert torch.equal(found, wanted)


def test_a_repeated_pose_counts_as_standing_still():
    clip = images(), metric(smooth_depth())
    repeated = build_point_cloud(*clip, FIXED.expanded(F))
    assert torch.equal(repeated.background_points, build_point_cloud(*clip, FIXED).background_points)


def test_statistics():
    dynamic = torch.zeros(F, H, W, dtype=torch.bool)
    dynamic[1, :10, :10] = True
    cloud = build_point_cloud(images(), metric(smooth_depth()), FIXED, dynamic=dynamic)
    assert cloud.counts.tolist() == [12 * 16, 12 * 16 + 25, 12 * 16, 12 * 16]
    low, high = cloud.bounds()
    points = torch.cat([cloud.frame(frame)[0] for frame in range(F)])
    assert torch.equal(low, points.amin(dim=0))
    assert torch.equal(high, points.amax(dim=0))
    text = cloud.describe()
    assert "4 frames of 192 to 217 points: background 192, own 0 to 25" in text
    assert f"x {float(low[0]):.2f} to" in text
    metres = smooth_depth().clone()
    metres[2] = 0
    text = build_point_cloud(images(), metric(metres), FIXED, background=Background.PER_FRAME).describe()
    assert "1 frames have no point (first: frame 2)" in text


def test_progress_reports_and_cancels():
    clip = images(), metric(smooth_depth()), FIXED
    seen = []
    build_point_cloud(*clip, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, F) for i in range(F)]

    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        build_point_cloud(*clip, progress=cancel)


def rough(metres: torch.Tensor) -> torch.Tensor:
    return metres * (1 + torch.rand(metres.shape, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, z: build_point_cloud(i[:3], metric(z), FIXED), "clip has 3 frames and its depth 4"),
        (lambda i, z: build_point_cloud(i[:, :20], metric(z), FIXED), "32 x 20 pixels, the depth 32 x 24"),
        (lambda i, z: build_point_cloud(i, metric(z), FIXED.resized(16, 12)), "camera 16 x 12.*alike"),
        (lambda i, z: build_point_cloud(i, metric(z), MOVING), 'Choose the background "per frame"'),
        (lambda i, z: build_point_cloud(i, metric(z), MOVING[:3], background="per frame"), "3 poses.*4 frames"),
        (lambda i, z: build_point_cloud(i, Depth(1 / z, DepthMeaning.INVERSE), FIXED), "Expected metric depth"),
        (lambda i, z: build_point_cloud(i, metric(z), FIXED, dynamic=torch.zeros(F, H, W)), "as bool"),
        (lambda i, z: build_point_cloud(i, metric(z), FIXED, stride=0), "at least 1 pixel"),
        (lambda i, z: build_point_cloud(i, metric(z), FIXED, background="median"), "median"),
        (lambda i, z: build_point_cloud(i[..., :1], metric(z), FIXED), "Expected images"),
        (lambda i, z: build_point_cloud(i, metric(rough(z)), FIXED), "raise the reliability threshold"),
        (
            lambda i, z: build_point_cloud(
                i, metric(z), FIXED, dynamic=torch.ones(F, H, W, dtype=torch.bool), dynamic_points=False
            ),
            "100 % is masked",
        ),
        (lambda i, z: PointCloud(z[0, :, :3], z[0, :, :3], (), ()), "at least one frame"),
        (lambda i, z: PointCloud(z[0], z[0], (z[0],), (z[0],)), r"\[N, 3\]"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(images(), smooth_depth())


@pytest.mark.parametrize(
    ("name", "background", "low", "high"),
    [("joker", "per frame", 70_000, 90_000), ("iiith_cooking_57_2_2451_2499", "mean", 70_000, 90_000)],
)
def test_real_takes_give_the_known_number_of_points(shared_take, name, background, low, high):
    folder = shared_take(name)
    meta = json.loads((folder / "meta.json").read_text())
    with np.load(folder / "depth_f16.npz") as archive:
        depth = torch.from_numpy(archive["depth"][::12].astype(np.float32))
    left = (depth.shape[2] - 784) // 2
    (fx, _, cx), (_, fy, cy), _ = meta["camera_intrinsics"]
    lens = Pinhole(fx * 784 / 2 / cx, fy * 448 / 2 / cy, 392.5, 224.5)
    camera = Camera(lens, 784, 448, torch.tensor(meta["camera_extrinsics"], dtype=torch.float64))
    metres = metric(depth).cropped(left, 0, 784, 448)
    cloud = build_point_cloud(torch.zeros(5, 448, 784, 3), metres, camera, background=background)
    counts = cloud.counts
    assert low <= int(counts.min()) <= int(counts.max()) <= high, cloud.describe()
    assert torch.isfinite(torch.stack(cloud.bounds())).all()
