"""The graph's output against loops and networks that share nothing with the pack."""

from __future__ import annotations

import pytest
import torch

from exo2ego.attention.bias import GGAForm
from exo2ego.wan.egox_patch import apply_egox
from exo2ego.wan.gga_patch import GGASettings, apply_gga
from support.comfyui import k_sampler
from support.egox_witness import dense_pair_bias, sample
from support.tiny_wan import DIM, FFN, LAYERS, wan_state_dict
from support.wan_witnesses import comfyui_predict, diffusers_predict, diffusers_wan, egox_conditioning

STEPS = 3
SEED = 5
DEFAULT_SHIFT = 8.0  # of ComfyUI's Wan 2.1
FORMS = [None, ("paper", 2.0), ("release", 3.0), ("release", 1.0)]


def graph(model, clip, form=None, shift=None):
    """The patches of the EgoX graph."""
    patched = apply_egox(model, clip.exo)
    if form is not None:
        settings = GGASettings(form=GGAForm(form[0]), strength=form[1])
        patched = apply_gga(patched, lambda layout: (clip.ego_queries, clip.exo_keys), settings)
    if shift is not None:
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3

        (patched,) = ModelSamplingSD3().patch(patched, shift)
    return patched


def run(model, clip, cfg, batch=1, **settings):
    positive = egox_conditioning(clip.positive, clip.prior, clip.clip_features)
    negative = egox_conditioning(clip.negative, clip.prior, clip.clip_features)
    latent = torch.zeros(batch, *clip.prior.shape[1:])
    return k_sampler(model, positive, negative, latent, seed=SEED, steps=STEPS, cfg=cfg, **settings)


def noise_of(clip, batch=1):
    random = torch.manual_seed(SEED)
    return torch.randn(batch, *clip.prior.shape[1:], generator=random)


@pytest.fixture(scope="module")
def biases(clip):
    return {form: None if form is None else dense_pair_bias(clip, *form) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_graph_equals_the_plain_loop(model, clip, biases, form, cfg):
    got = run(graph(model, clip, form), clip, cfg)
    predict = comfyui_predict(model.model.diffusion_model)
    expected = sample(predict, clip, noise_of(clip), steps=STEPS, shift=DEFAULT_SHIFT, cfg=cfg, bias=biases[form])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_graph_equals_diffusers(model, clip, biases, form, cfg):
    got = run(graph(model, clip, form), clip, cfg)
    predict = diffusers_predict(diffusers_wan(wan_state_dict(), dim=DIM, ffn=FFN, layers=LAYERS))
    expected = sample(predict, clip, noise_of(clip), steps=STEPS, shift=DEFAULT_SHIFT, cfg=cfg, bias=biases[form])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_graph_with_shift_equals_the_plain_loop(model, clip, biases):
    form = ("release", 3.0)
    got = run(graph(model, clip, form, shift=3.0), clip, 5.0)
    predict = comfyui_predict(model.model.diffusion_model)
    expected = sample(predict, clip, noise_of(clip), steps=STEPS, shift=3.0, cfg=5.0, bias=biases[form])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_every_part_of_the_graph_matters(model, clip, biases):
    """What the parity above says: leaving a part out moves the result by far more than its tolerance."""
    predict = comfyui_predict(model.model.diffusion_model)

    def witness(bias=None, **changes):
        altered = type(clip)(**{**vars(clip), **changes})
        return sample(predict, altered, noise_of(clip), steps=STEPS, shift=DEFAULT_SHIFT, cfg=5.0, bias=bias)

    full = witness()
    others = {
        "paper": witness(biases["paper", 2.0]),
        "release": witness(biases["release", 3.0]),
        "exo": witness(exo=torch.zeros_like(clip.exo)),
        "prior": witness(prior=torch.zeros_like(clip.prior)),
        "clip": witness(clip_features=torch.zeros_like(clip.clip_features)),
    }
    for name, other in others.items():
        assert (other - full).abs().max() > 1e-2, name
    assert (others["paper"] - others["release"]).abs().max() > 1e-2


def test_a_batch_of_two_equals_the_plain_loop(model, clip, biases):
    form = ("release", 3.0)
    got = run(graph(model, clip, form), clip, 5.0, batch=2)
    predict = comfyui_predict(model.model.diffusion_model)
    expected = sample(predict, clip, noise_of(clip, 2), steps=STEPS, shift=DEFAULT_SHIFT, cfg=5.0, bias=biases[form])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    assert (got[0] - got[1]).abs().max() > 0.1
