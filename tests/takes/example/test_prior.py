"""The ego prior of the example room against its true ego view: the same place to half a pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from exo2ego.geometry.cameras.presets import LensPreset
from exo2ego.geometry.points.point_cloud import build_point_cloud
from exo2ego.geometry.points.renderer import render_points
from exo2ego.takes.example.room import example_take

WINDOW = 48
ROUNDS = 10


def shift_of(image: Tensor, reference: Tensor, use: Tensor) -> Tensor:
    """Register grey windows by translation (Lucas-Kanade): the (x, y) in pixels by which `image` is displaced.

    Args:
        image: [H, W].
        reference: [H, W].
        use: [H, W] bool, pixels that count.
    """
    height, width = image.shape
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    shift = torch.zeros(2)
    for _ in range(ROUNDS):
        grid = torch.stack([(columns - shift[0]) / width, (rows - shift[1]) / height], dim=-1) * 2 - 1
        moved = torch.nn.functional.grid_sample(reference[None, None], grid[None], align_corners=False)[0, 0]
        dy, dx = torch.gradient(moved)
        slopes = torch.stack([dx[use], dy[use]], dim=-1)
        shift = shift + torch.linalg.lstsq(-slopes, (image - moved)[use][:, None]).solution[:, 0]
    return shift


def windows_that_show_something(take, color: Tensor, covered: Tensor, hidden: Tensor):
    """Yield grey windows of prior and truth that are covered, textured in both directions and show the same thing."""
    prior, truth = color.mean(dim=-1), take.ego_truth[0].mean(dim=-1)
    for top in range(0, 448 - WINDOW, WINDOW // 2):
        for left in range(0, 448 - WINDOW, WINDOW // 2):
            window = (slice(top, top + WINDOW), slice(left, left + WINDOW))
            use = covered[window] & ~hidden[window]
            dy, dx = torch.gradient(truth[window])
            structure = torch.stack([dx[use], dy[use]])
            if use.float().mean() > 0.9 and torch.linalg.eigvalsh(structure @ structure.T)[0] > 1.0:
                yield prior[window], truth[window], use


@pytest.mark.parametrize(("lens", "radius"), [(LensPreset.PINHOLE, 0.45), (LensPreset.EGOX_RELEASE, 0.3)])
def test_prior_lies_on_the_truth_to_half_a_pixel(lens, radius):
    take = example_take(1, exo_width=1568, exo_height=896, lens=lens)
    cloud = build_point_cloud(take.exo, take.depth, take.exo_camera, background="per frame", stride=1)
    # Discs as small as the points' density allows: larger ones move slanted surfaces towards their far side, as
    # PyTorch3D's do (see render_points).
    rendering = render_points(cloud, take.ego_camera, radius=radius)
    color, covered = rendering.color[0], rendering.coverage[0]
    # Where the exo camera sees through to something behind what the ego camera sees, the two differ by nature.
    hidden = (color - take.ego_truth[0]).abs().amax(dim=-1) > 0.3
    shifts = [shift_of(*window) for window in windows_that_show_something(take, color, covered, hidden)]
    errors = torch.stack(shifts)  # [windows, 2]
    distance = errors.norm(dim=-1)
    print(f"{lens.value}: {len(errors)} windows, median {distance.median():.2f} px, mean {errors.mean(dim=0).tolist()}")
    assert len(errors) >= 15
    assert distance.median() < 0.25
    assert distance.quantile(0.9) < 0.5
    assert errors.mean(dim=0).norm() < 0.15
