"""Smoothing without lag, and gaps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from exo2ego.geometry.cameras.rotations import matrices_to_vectors, vectors_to_matrices
from exo2ego.geometry.head.smoothing import fill_gaps, smooth_poses, smoothing_matrix

F = 97


def swing(period: float, phase: float = 0.0) -> Tensor:
    return torch.sin(2 * math.pi * (torch.arange(F, dtype=torch.float64) - phase) / period)


def turns(angles: Tensor) -> Tensor:
    """Turns about a slanted axis by angles [F] in radians."""
    axis = torch.nn.functional.normalize(torch.tensor([0.3, 1.0, -0.2], dtype=torch.float64), dim=0)
    return vectors_to_matrices(angles[:, None] * axis)


def phase_of(values: Tensor, period: float) -> float:
    """The delay in frames of a swing of known period, by its Fourier coefficient over the middle."""
    at = torch.arange(F, dtype=torch.float64)
    middle = (at >= F // 2 - period) & (at < F // 2 + period)
    angle = 2 * math.pi * at[middle] / period
    sine, cosine = (values[middle] * angle.sin()).sum(), (values[middle] * angle.cos()).sum()
    return float(torch.atan2(-cosine, sine)) * period / (2 * math.pi)


def smoothed(rotations: Tensor, positions: Tensor, period: float, known: Tensor | None = None):
    known = torch.ones(len(positions), dtype=torch.bool) if known is None else known
    return smooth_poses(rotations, positions, period, torch.ones(len(positions), dtype=torch.float64), known)


@pytest.mark.parametrize("period", [12, 16, 24])
def test_no_lag(period):
    angles = 0.5 * swing(period)
    positions = torch.stack([swing(period), 2 * swing(period), torch.ones(F, dtype=torch.float64)], dim=-1)
    rotations, positions = smoothed(turns(angles), positions, 12)
    found = matrices_to_vectors(rotations)[:, 1]
    assert abs(phase_of(positions[:, 0], period)) < 0.02  # frames
    assert abs(phase_of(found, period)) < 0.02
    assert abs(phase_of(swing(period, phase=0.5), period) - 0.5) < 1e-6  # the measure itself


def test_half_of_a_swing_of_the_period_is_left():
    for period in (8, 12):
        _, positions = smoothed(turns(0 * swing(period)), swing(period)[:, None].expand(F, 3), period)
        middle = slice(F // 2 - period, F // 2 + period)
        share = positions[middle, 0].abs().max() / swing(period)[middle].abs().max()
        assert share == pytest.approx(0.5, abs=0.01)


def test_even_movement_passes_unchanged():
    at = torch.arange(F, dtype=torch.float64)
    rotations, line = turns(0.08 * at), torch.stack([0.01 * at, 1 - 0.02 * at, 0 * at], dim=-1)  # 1.2 turns
    smooth_rotations, smooth_line = smoothed(rotations, line, 12)
    torch.testing.assert_close(smooth_line, line, atol=1e-9, rtol=0)
    torch.testing.assert_close(smooth_rotations, rotations, atol=1e-3, rtol=0)


def test_jitter_goes():
    generator = torch.Generator().manual_seed(3)
    noise = 0.05 * torch.randn(F, 3, generator=generator, dtype=torch.float64)
    rotations, positions = smoothed(vectors_to_matrices(noise), noise, 12)
    assert positions.std() < 0.5 * noise.std()
    assert matrices_to_vectors(rotations).std() < 0.5 * noise.std()


def test_uncertain_frames_follow_their_neighbours():
    positions = torch.zeros(F, 3, dtype=torch.float64)
    positions[40:43] = 1
    weights = torch.ones(F, dtype=torch.float64)
    trusted = smoothing_matrix(weights, 6) @ positions
    weights[40:43] = 0.01
    distrusted = smoothing_matrix(weights, 6) @ positions
    assert trusted[41, 0] > 0.5
    assert distrusted[41, 0] < 0.2


def test_off_and_short_clips():
    rotations, positions = turns(swing(9)), swing(7)[:, None].expand(F, 3)
    for found in (smoothed(rotations, positions, 0), smoothed(rotations[:2], positions[:2], 12)):
        assert torch.equal(found[1], positions[: len(found[1])])
        assert torch.equal(found[0], rotations[: len(found[0])])
    with pytest.raises(ValueError, match="0 or more frames"):
        smoothed(rotations, positions, -1)


def test_gaps_are_straight_inside_and_held_at_the_ends():
    known = torch.zeros(9, dtype=torch.bool)
    known[[2, 6]] = True
    angles = torch.zeros(9, dtype=torch.float64)
    angles[6] = 1.0
    positions = torch.full((9, 3), 99.0, dtype=torch.float64)
    positions[2], positions[6] = 0.0, 4.0
    rotations, found = fill_gaps(turns(angles), positions, known)
    expected = torch.tensor([0, 0, 0, 1, 2, 3, 4, 4, 4], dtype=torch.float64)
    torch.testing.assert_close(found[:, 0], expected)
    torch.testing.assert_close(rotations, turns(expected / 4))
    with pytest.raises(ValueError, match="at least one frame"):
        fill_gaps(rotations, found, torch.zeros(9, dtype=torch.bool))
