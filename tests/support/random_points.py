"""Random points for the tests of the rasterisers and of the renderer."""

from __future__ import annotations

import torch

from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.cameras.settings import pose_from_angles
from exo2ego.geometry.lenses.lens import Lens
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.geometry.points.fragments import Fragments, Raster, Splats
from exo2ego.geometry.points.point_cloud import PointCloud

BUDGET = 2**28

# Raster, number of points, and what else `random_splats` takes.
RASTERS = {
    "many overlaps": (Raster(1, 24, 40, 4.0, 20), 900, {}),
    "more points than slots": (Raster(1, 24, 40, 5.0, 3), 900, {}),
    "one slot": (Raster(1, 24, 40, 5.0, 1), 300, {}),
    "equal z": (Raster(1, 16, 20, 3.5, 4), 200, {"equal_z": True}),
    "several images": (Raster(3, 16, 20, 2.6, 5), 500, {}),
    "small discs": (Raster(1, 24, 24, 0.4, 5), 300, {}),
    "discs wider than the image": (Raster(1, 5, 7, 9.0, 5), 40, {}),
    "one point": (Raster(1, 9, 9, 3.0, 20), 1, {}),
    "no point": (Raster(2, 9, 9, 3.0, 20), 0, {}),
}


def random_splats(
    raster: Raster, n: int, dtype: torch.dtype = torch.float32, seed: int = 0, equal_z: bool = False
) -> Splats:
    """Points in and around the images, denser at the left."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(n, 3, generator=generator, dtype=dtype)
    columns = unit[:, 0] ** 2 * (raster.width + 12) - 6
    rows = unit[:, 1] * (raster.height + 12) - 6
    z = torch.ones(n, dtype=dtype) if equal_z else 0.1 + unit[:, 2]
    image = torch.sort(torch.randint(0, raster.n_images, (n,), generator=generator)).values
    return Splats(torch.stack([columns, rows], dim=-1), z, image)


def assert_same(found: Fragments, expected: Fragments, tolerance: float) -> None:
    """Check that two rasterisers found the same points, their opacities within a tolerance."""
    assert torch.equal(found.pixel, expected.pixel)
    assert torch.equal(found.point, expected.point)
    assert torch.allclose(found.alpha, expected.alpha, rtol=0, atol=tolerance)


def random_cloud(n_frames: int, n: int, background: int = 30, seed: int = 1) -> PointCloud:
    """Points in a box before the camera, and a few behind it."""
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        points = torch.rand(count, 3, generator=generator) * torch.tensor([2.0, 2.0, 4.0]) - torch.tensor(
            [1.0, 1.0, 1.0]
        )
        return points, 0.1 + 0.9 * torch.rand(count, 3, generator=generator)

    frames = [some(n) for _ in range(n_frames)]
    return PointCloud(*some(background), *(tuple(parts) for parts in zip(*frames)))


def ego_camera(n_frames: int, lens: Lens | None = None, width: int = 40, height: int = 30) -> Camera:
    """A camera that moves a little."""
    poses = torch.stack([pose_from_angles((0.05 * i, 0.0, 0.0), (5.0 * i, 2.0, -3.0 * i)) for i in range(n_frames)])
    return Camera(lens or Pinhole(0.6 * width, 0.6 * width, width / 2, height / 2), width, height, poses)
