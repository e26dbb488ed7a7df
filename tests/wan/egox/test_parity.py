"""The graph's output against loops and networks that share nothing with the pack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga, with_shift
from support.egox_witness import dense_pair_bias, made_up_clip, sample
from support.tiny_wan import DIM, FFN, LAYERS, wan_state_dict
from support.wan_witnesses import comfyui_predict, diffusers_predict, diffusers_wan

FORMS = [None, ("paper", 2.0), ("release", 3.0), ("release", 1.0)]
RELEASE = ("release", 3.0)


def graph(model, clip, form):
    patched = with_egox(model, clip)
    return patched if form is None else with_gga(patched, clip, form=form[0], strength=form[1])


def plain_loop(model, clip, cfg=5.0, shift=SHIFT, batch=1, blocks=None, **bias):
    predict = comfyui_predict(model.model.diffusion_model, blocks)
    return sample(predict, clip, noise_of(clip, batch), steps=STEPS, shift=shift, cfg=cfg, **bias)


def assert_near(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def biases(clip):
    return {form: None if form is None else dense_pair_bias(clip, *form) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_graph_equals_the_plain_loop(model, clip, biases, form, cfg):
    got = run_graph(graph(model, clip, form), clip, cfg=cfg)
    assert_near(got, plain_loop(model, clip, cfg, bias=biases[form]))


@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_every_back_end_equals_the_plain_loop(model, clip, biases, backend):
    got = run_graph(with_gga(with_egox(model, clip), clip, backend=backend), clip)
    assert_near(got, plain_loop(model, clip, bias=biases[RELEASE]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_graph_equals_diffusers(model, clip, biases, form, cfg):
    got = run_graph(graph(model, clip, form), clip, cfg=cfg)
    predict = diffusers_predict(diffusers_wan(wan_state_dict(), dim=DIM, ffn=FFN, layers=LAYERS))
    expected = sample(predict, clip, noise_of(clip), steps=STEPS, shift=SHIFT, cfg=cfg, bias=biases[form])
    assert_near(got, expected)


def test_every_part_of_the_graph_matters(model, clip, biases):
    """What parity says: leaving a part out moves the result by far more than its tolerance."""
    full = plain_loop(model, clip)
    others = {
        "paper": plain_loop(model, clip, bias=biases["paper", 2.0]),
        "release": plain_loop(model, clip, bias=biases[RELEASE]),
        "exo": plain_loop(model, replace(clip, exo=torch.zeros_like(clip.exo))),
        "prior": plain_loop(model, replace(clip, prior=torch.zeros_like(clip.prior))),
        "clip": plain_loop(model, replace(clip, clip_features=torch.zeros_like(clip.clip_features))),
    }
    for name, other in others.items():
        assert (other - full).abs().max() > 0.05, name
    assert (others["paper"] - others["release"]).abs().max() > 0.05


@pytest.mark.parametrize("gga_first", [False, True])
def test_shift_before_or_after(model, clip, biases, gga_first):
    if gga_first:
        patched = with_shift(graph(model, clip, RELEASE), 3.0)
    else:
        patched = graph(with_shift(model, 3.0), clip, RELEASE)
    assert_near(run_graph(patched, clip), plain_loop(model, clip, shift=3.0, bias=biases[RELEASE]))


def test_a_batch_of_two(model, clip, biases):
    got = run_graph(graph(model, clip, RELEASE), clip, batch=2)
    assert_near(got, plain_loop(model, clip, batch=2, bias=biases[RELEASE]))
    assert (got[0] - got[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    "sizes",
    [
        {"frames": 1, "height": 4, "exo_width": 6, "ego_width": 4},
        {"frames": 4, "height": 2, "exo_width": 2, "ego_width": 8},
    ],
    ids=str,
)
def test_other_sizes(model, sizes):
    clip = made_up_clip(seed=1, **sizes)
    got = run_graph(graph(model, clip, RELEASE), clip)
    assert_near(got, plain_loop(model, clip, bias=dense_pair_bias(clip, *RELEASE)))


def test_missing_directions(model, clip):
    """Rays and points without a direction (zero vectors) get no bias, not even lambda's, and nothing becomes NaN."""
    queries, keys = clip.ego_queries.clone(), clip.exo_keys.clone()
    queries[1] = 0
    keys[:, 2, 1] = 0
    holes = replace(clip, ego_queries=queries, exo_keys=keys)
    paper = ("paper", 2.0)
    bias = dense_pair_bias(holes, *paper)
    assert (bias != 0).sum() < (dense_pair_bias(clip, *paper) != 0).sum()
    assert_near(run_graph(graph(model, holes, paper), holes), plain_loop(model, holes, bias=bias))


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.3, 1.0), (0.25, 0.6)])
def test_part_of_the_schedule(model, clip, biases, start, end):
    patched = with_gga(with_egox(model, clip), clip, start_percent=start, end_percent=end)

    def sigma_at(percent):  # of shift 8
        level = 1 - percent
        return SHIFT * level / (1 + (SHIFT - 1) * level)

    def acts_at(sigma):
        return sigma_at(end) <= sigma <= sigma_at(start) + 1e-6

    everywhere = plain_loop(model, clip, bias=biases[RELEASE])
    expected = plain_loop(model, clip, bias=biases[RELEASE], bias_at=acts_at)
    assert (expected - everywhere).abs().max() > 1e-2
    assert_near(run_graph(patched, clip), expected)


@pytest.mark.parametrize(("first", "last", "blocks"), [(0, 0, {0}), (1, -1, {1}), (0, 7, {0, 1})])
def test_range_of_blocks(model, clip, biases, first, last, blocks):
    patched = with_gga(with_egox(model, clip), clip, first_block=first, last_block=last)
    assert_near(run_graph(patched, clip), plain_loop(model, clip, bias=biases[RELEASE], blocks=blocks))
