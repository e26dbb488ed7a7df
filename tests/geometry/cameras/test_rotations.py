"""Quaternions against the exponential of a rotation's axis and angle."""

from __future__ import annotations

import math

import pytest
import torch

from exo2ego.geometry.cameras.rotations import matrices_to_quaternions, quaternions_to_matrices, slerp


def rotations(axes: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotation matrices of unit axes [N, 3] and angles [N], by the matrix exponential."""
    x, y, z = (axes * angles[:, None]).unbind(-1)
    nothing = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([nothing, -z, y, z, nothing, -x, -y, x, nothing], dim=-1).view(-1, 3, 3))


def some_axes(count: int = 200) -> torch.Tensor:
    drawn = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    corners = torch.cat([torch.eye(3), -torch.eye(3), torch.tensor([[1.0, 1.0, 0.0]])]).double()
    return torch.nn.functional.normalize(torch.cat([drawn, corners]), dim=-1)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, math.pi / 2, math.pi - 1e-7, math.pi, 5.0])
def test_matrices_and_back(angle):
    axes = some_axes()
    matrices = rotations(axes, torch.full((len(axes),), angle, dtype=torch.float64))
    quaternions = matrices_to_quaternions(matrices)
    assert torch.allclose(quaternions.norm(dim=-1), torch.ones(len(axes)).double(), atol=1e-12)
    assert (quaternions[:, 0] >= 0).all()
    assert torch.allclose(quaternions_to_matrices(quaternions), matrices, atol=1e-12)
    expected = torch.cat([torch.full((len(axes), 1), math.cos(angle / 2)), axes * math.sin(angle / 2)], dim=-1)
    assert torch.allclose((quaternions * expected).sum(dim=-1).abs(), torch.ones(len(axes)).double(), atol=1e-9)


def test_a_rounded_matrix_gives_a_rotation_near_it():
    axes = some_axes()
    exact = rotations(axes, torch.linspace(0, 3, len(axes), dtype=torch.float64))
    found = quaternions_to_matrices(matrices_to_quaternions(exact.mul(1e4).round().div(1e4)))
    assert float((found - exact).abs().max()) < 1e-4
    assert torch.allclose(found @ found.mT, torch.eye(3, dtype=torch.float64).expand_as(found), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-3, 1.0, 3.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_slerp_turns_evenly_along_the_shorter_arc(angle, sign):
    axes = some_axes(20)
    start = matrices_to_quaternions(rotations(axes.roll(1, 0), torch.linspace(0, 3, len(axes)).double()))
    turn = torch.full((len(axes),), angle, dtype=torch.float64)
    end = sign * matrices_to_quaternions(rotations(axes, turn) @ quaternions_to_matrices(start))
    for share in (0.0, 0.25, 0.9, 1.0):
        found = slerp(start, end, torch.full((len(axes),), share, dtype=torch.float64))
        expected = rotations(axes, share * turn) @ quaternions_to_matrices(start)
        assert torch.allclose(quaternions_to_matrices(found), expected, atol=1e-9)
