"""SPLAT as core's nodes make it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from exo2ego.geometry.points.splat import read_splat


def splat(**change) -> SimpleNamespace:
    """A batch of one scene, padded with zeros to more rows than it has."""
    generator = torch.Generator().manual_seed(0)
    opacities = torch.ones(1, 12, 1)
    opacities[0, 3] = 0.05
    fields = {
        "positions": torch.rand(1, 12, 3, generator=generator),
        "scales": torch.full((1, 12, 3), 0.01),
        "rotations": torch.tensor([1.0, 0, 0, 0]).expand(1, 12, 4),
        "opacities": opacities,
        "sh": torch.rand(1, 12, 4, 3, generator=generator) - 0.5,
        "counts": torch.tensor([10]),
    }
    return SimpleNamespace(**{**fields, **change})


def test_splats_become_points():
    given = splat()
    points, colors = read_splat(given)
    kept = [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert torch.equal(points, given.positions[0, kept])
    assert torch.allclose(colors, 0.5 + 0.2820948 * given.sh[0, kept, 0], atol=1e-6)


def test_all_rows_count_without_counts():
    assert len(read_splat(splat(counts=None))[0]) == 11
    assert read_splat(splat(positions=splat().positions.half()))[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (None, "'positions' of a SPLAT"),
        ({}, "'positions' of a SPLAT"),
        (splat(sh=torch.rand(1, 12, 3)), "'sh' of a SPLAT is a tensor of 4 dimensions"),
        (splat(opacities=torch.rand(1, 5, 1)), "other numbers of positions"),
        (splat(positions=torch.rand(2, 12, 3)), "holds 2 scenes"),
        (splat(counts=torch.tensor([50])), "has positions"),
        (splat(opacities=torch.zeros(1, 12, 1)), "None of the 10 points can be seen"),
    ],
)
def test_what_is_no_splat(payload, said):
    with pytest.raises(ValueError, match=said) as error:
        read_splat(payload)
    assert "Connect a SPLAT" in str(error.value)
