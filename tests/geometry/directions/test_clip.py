"""A clip's geometry as one value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from exo2ego.attention.layout import TokenLayout
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.directions.clip import ClipGeometry
from exo2ego.geometry.directions.directions import GGAGeometry, gga_directions
from exo2ego.geometry.lenses.pinhole import Pinhole

LAYOUT = TokenLayout(frames=2, rows=4, exo_columns=6, ego_columns=4)


def a_clip() -> tuple[Camera, Depth, Camera]:
    """The exo camera is of twice the size of the depth maps."""
    random = torch.Generator().manual_seed(0)
    depth = Depth(1.0 + torch.rand(5, 64, 96, generator=random), DepthMeaning.METRIC)
    path = torch.eye(4).repeat(5, 1, 1)
    path[:, 0, 3] = torch.linspace(0.0, 0.4, 5)
    exo = Camera(Pinhole(140.0, 140.0, 96.0, 64.0), 192, 128, torch.eye(4))
    return exo, depth, Camera(Pinhole(40.0, 40.0, 32.0, 32.0), 64, 64, path)


@pytest.mark.parametrize("kind", list(GGAGeometry))
def test_directions_of_a_token_layout(kind):
    exo, depth, ego = a_clip()
    steps = []
    got = ClipGeometry(exo, depth, ego, kind).directions(LAYOUT, lambda done, total: steps.append((done, total)))
    sizes = {"latent_frames": 2, "exo_tokens": (4, 6), "ego_tokens": (4, 4)}
    expected = gga_directions(exo.resized(96, 64), depth, ego, geometry=kind, **sizes)
    assert torch.equal(got.ego_queries, expected.ego_queries)
    assert torch.equal(got.exo_keys, expected.exo_keys)
    assert steps[-1][0] == steps[-1][1]


def test_another_kind_of_the_same_clip():
    released = ClipGeometry(*a_clip())
    physical = replace(released, kind=GGAGeometry.PHYSICAL)
    assert released.kind is GGAGeometry.AS_RELEASED
    assert not torch.equal(physical.directions(LAYOUT).ego_queries, released.directions(LAYOUT).ego_queries)
    with pytest.raises(FrozenInstanceError):
        released.kind = GGAGeometry.PHYSICAL


def test_a_camera_of_another_aspect_ratio_is_refused_at_once():
    exo, depth, ego = a_clip()
    with pytest.raises(ValueError, match="192 x 100"):
        ClipGeometry(replace(exo, height=100), depth, ego)
