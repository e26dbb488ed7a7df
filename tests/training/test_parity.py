"""The trainer's forward pass and the patch of ComfyUI's Wan: one prediction for one batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.layout import TokenLayout
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.geometry.directions.clip import ClipGeometry
from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.geometry.lenses.pinhole import Pinhole
from exo2ego.training.data.clips import ClipBatch
from exo2ego.training.network.egox import EgoX
from exo2ego.training.network.guided_processor import Guidance
from exo2ego.wan.egox.gga import GGASettings, apply_gga
from exo2ego.wan.egox.match import Match
from support.egox_graph import one_call, with_egox, with_gga
from support.egox_witness import made_up_clip
from support.training import tiny_transformer, training_clip
from support.wan_witnesses import egox_conditioning

FORMS = {"off": None, "paper": GGABias(GGAForm.PAPER, 2.0), "release": GGABias(), "weak": GGABias(GGAForm.RELEASE, 1.0)}


def noisy_ego(clip, batch=1):
    return torch.randn(batch, *clip.prior.shape[1:], generator=torch.Generator().manual_seed(3))


def trained(clips, noisy, level, bias, **settings):
    network = EgoX(tiny_transformer(), None if bias is None else Guidance(bias), **settings)
    with torch.no_grad():
        return network(ClipBatch.of([training_clip(clip) for clip in clips]), noisy, level.expand(len(clips)))


def in_comfyui(model, clip, noisy, level):
    return one_call(model, noisy, level, egox_conditioning(clip.positive, clip.prior, clip.clip_features))


def assert_near(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [1.0, 0.6])
def test_one_prediction_in_every_form(model, clip, form, level):
    bias, noisy, level = FORMS[form], noisy_ego(clip), torch.tensor([level])
    patched = with_egox(model, clip)
    if bias is not None:
        patched = with_gga(patched, clip, form=bias.form, strength=bias.strength)
    got = trained([clip], noisy, level, bias)
    assert_near(got, in_comfyui(patched, clip, noisy, level))
    if bias is not None:
        assert (got - trained([clip], noisy, level, None)).abs().max() > 0.02


@pytest.mark.parametrize("geometry", list(GGAGeometry))
def test_one_prediction_in_every_geometry(model, clip, geometry):
    """By cameras and depth, which the node turns into directions at sampling and the cache before training."""
    random = torch.Generator().manual_seed(0)
    depth = Depth(1.0 + torch.rand(9, 48, 80, generator=random), DepthMeaning.METRIC)
    path = torch.eye(4).repeat(9, 1, 1)
    path[:, 0, 3] = torch.linspace(0.0, 0.4, 9)
    exo = Camera(Pinhole(60.0, 60.0, 40.0, 24.0), 80, 48, torch.eye(4))
    found = ClipGeometry(exo, depth, Camera(Pinhole(40.0, 40.0, 24.0, 24.0), 48, 48, path), geometry)
    directions = found.directions(TokenLayout(3, 3, 5, 3))
    noisy, level = noisy_ego(clip), torch.tensor([0.8])
    patched = apply_gga(with_egox(model, clip), found, GGASettings())
    known = replace(clip, ego_queries=directions.ego_queries, exo_keys=directions.exo_keys)
    got = trained([known], noisy, level, GGABias())
    assert_near(got, in_comfyui(patched, clip, noisy, level))
    assert (got - trained([clip], noisy, level, GGABias())).abs().max() > 0.01


def test_the_released_trainer_s_mask(model, clip):
    noisy, level = noisy_ego(clip), torch.tensor([0.8])
    got = trained([clip], noisy, level, None, masks_last_frame=True)
    assert_near(got, in_comfyui(with_egox(model, clip, match=Match.TRAINING), clip, noisy, level))
    assert (got - trained([clip], noisy, level, None)).abs().max() > 1e-3


def test_different_clips_in_a_batch(model, clip):
    """Each with its own directions, which ComfyUI samples one after the other."""
    clips = [clip, made_up_clip(seed=4)]
    noisy, level = noisy_ego(clip, batch=2), torch.tensor([0.7])
    got = trained(clips, noisy, level, GGABias())
    for one, own, its_noisy in zip(got, clips, noisy):
        patched = with_gga(with_egox(model, own), own)
        assert_near(one[None], in_comfyui(patched, own, its_noisy[None], level))
