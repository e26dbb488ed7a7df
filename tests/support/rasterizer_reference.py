"""The readable twin of the rasterisers: one pixel at a time. Slow; the oracle of tests and of a benchmark."""

from __future__ import annotations

import torch

from exo2ego.geometry.points.fragments import Fragments, Raster, Splats


def rasterize(splats: Splats, raster: Raster) -> Fragments:
    """Find the nearest points of every pixel, exactly as `fragments` defines it."""
    count = raster.points_per_pixel
    pixels, points, alphas = [], [], []
    for flat in range(raster.n_images * raster.height * raster.width):
        image, rest = divmod(flat, raster.height * raster.width)
        row, column = divmod(rest, raster.width)
        center = splats.pixels.new_tensor([column + 0.5, raster.top + row + 0.5])
        distance2 = (center - splats.pixels).square().sum(dim=-1)  # [N]
        touching = ((distance2 < raster.radius**2) & (splats.image == image)).nonzero()[:, 0]
        if len(touching) == 0:
            continue
        nearest = touching[torch.argsort(splats.z[touching], stable=True)][:count]
        missing = count - len(nearest)
        alpha = 1 - distance2[nearest] / raster.radius**2
        pixels.append(flat)
        points.append(torch.nn.functional.pad(nearest, (0, missing), value=-1))
        alphas.append(torch.nn.functional.pad(alpha, (0, missing)))
    if not pixels:
        none = splats.image.new_zeros(0)
        return Fragments(none, none.new_zeros(0, count), splats.z.new_zeros(0, count))
    return Fragments(splats.image.new_tensor(pixels), torch.stack(points), torch.stack(alphas))
