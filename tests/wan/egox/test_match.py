"""Released inference or released training, and the paper's ablations, against the loop that shares nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.geometry.directions.directions import GGAGeometry
from exo2ego.wan.egox.apply import ExoSettings
from exo2ego.wan.egox.gga import apply_matched_gga, without_gga
from exo2ego.wan.egox.gga_settings import GGASettings, Guidance
from exo2ego.wan.egox.match import LATENT_KEY, Match, match_of_latent, matched
from support.egox_graph import SEED, SHIFT, STEPS, KnownDirections, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import dense_pair_bias, made_up_clip, sample
from support.wan_witnesses import comfyui_predict

TRAINING = {"match": Match.TRAINING}


def plain_loop(model, clip, batch=1, **settings):
    predict = comfyui_predict(model.model.diffusion_model)
    return sample(predict, clip, noise_of(clip, batch), steps=STEPS, shift=SHIFT, cfg=5.0, **settings)


def exo_noise_of(clip, batch=1):
    """What the sampler's seed gives after the ego view's noise."""
    generator = torch.manual_seed(SEED)
    torch.randn(batch, *clip.prior.shape[1:], generator=generator)
    return torch.randn(batch, *clip.exo.shape[1:], generator=generator)


def assert_near(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_what_belongs_together():
    inference, training = matched(Match.INFERENCE), matched(Match.TRAINING)
    assert (inference.geometry, inference.strength) == (GGAGeometry.AS_RELEASED, 3.0)
    assert (training.geometry, training.strength) == (GGAGeometry.AS_TRAINED, 1.0)
    assert not inference.black_picture
    assert not inference.last_frame_mask
    assert training.black_picture
    assert training.last_frame_mask


# The mask of the last frame -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "marked"),
    [
        ({}, False),
        ({"match": Match.INFERENCE}, False),
        (TRAINING, True),
        ({**TRAINING, "last_frame_mask": False}, False),
        ({"last_frame_mask": True}, True),
    ],
    ids=str,
)
def test_the_mask_of_the_last_frame(model, clip, settings, marked):
    got = run_graph(with_egox(model, clip, **settings), clip)
    assert_near(got, plain_loop(model, clip, marks_last_frame=marked))
    assert (got - plain_loop(model, clip, marks_last_frame=not marked)).abs().max() > 1e-2


def test_a_single_frame_is_first_and_last(model):
    clip = made_up_clip(seed=1, frames=1, height=4, exo_width=6, ego_width=4)
    assert_near(run_graph(with_egox(model, clip, **TRAINING), clip), plain_loop(model, clip))


# The noisy exo latent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_the_noisy_exo_latent(model, clip, batch):
    got = run_graph(with_egox(model, clip, noisy=True), clip, batch=batch)
    assert_near(got, plain_loop(model, clip, batch, exo_noise=exo_noise_of(clip, batch)))
    assert (got - plain_loop(model, clip, batch)).abs().max() > 0.05


def test_the_noisy_exo_latent_with_gga_in_any_order(model, clip):
    bias = dense_pair_bias(clip, "release", 3.0)
    expected = plain_loop(model, clip, exo_noise=exo_noise_of(clip), bias=bias)
    assert_near(run_graph(with_gga(with_egox(model, clip, noisy=True), clip), clip), expected)
    assert_near(run_graph(with_egox(with_gga(model, clip), clip, noisy=True), clip), expected)


def test_the_noise_of_the_exo_view_is_not_that_of_the_ego_view(clip):
    exo, ego = exo_noise_of(clip), noise_of(clip)
    assert (exo.flatten()[:50] - ego.flatten()[:50]).abs().max() > 0.5


def test_the_clean_run_after_a_noisy_one_is_clean(model, clip):
    clean = run_graph(with_egox(model, clip), clip)
    noisy = with_egox(model, clip, noisy=True)
    run_graph(noisy, clip)
    assert torch.equal(run_graph(with_egox(noisy, clip), clip), clean)
    assert torch.equal(run_graph(with_egox(model, clip), clip), clean)


def test_a_sampler_that_gives_no_noise(model, clip):
    patched = with_egox(model, clip, noisy=True)
    options = {"wrappers": patched.wrappers, "sigmas": torch.ones(1)}
    with pytest.raises(ValueError, match="bypasses ComfyUI's guider"):
        model.model.diffusion_model(
            torch.zeros(1, 36, 3, 6, 6), torch.ones(1), clip.positive, clip.clip_features, None, options
        )


# GGA ----------------------------------------------------------------------------------------------------------------


def mirrored(clip):
    """Other directions, as another geometry has them."""
    return replace(clip, ego_queries=-clip.ego_queries)


def with_matched_gga(model, clip, report=None):
    """GGA with the clip's own directions for inference, and other ones for training."""

    guidance = {}
    for match, used in ((Match.INFERENCE, clip), (Match.TRAINING, mirrored(clip))):
        settings = GGASettings(strength=matched(match).strength)
        guidance[match] = Guidance(KnownDirections(used.ego_queries, used.exo_keys), settings, f"by {match.value}")
    return apply_matched_gga(model, guidance, report)


@pytest.mark.parametrize("gga_first", [True, False])
@pytest.mark.parametrize("match", list(Match))
def test_gga_follows_the_exo_view(model, clip, gga_first, match):
    said = []
    if gga_first:
        patched = with_egox(with_matched_gga(model, clip, said.append), clip, match=match)
    else:
        patched = with_matched_gga(with_egox(model, clip, match=match), clip, said.append)
    got = run_graph(patched, clip)
    if match is Match.INFERENCE:
        expected = plain_loop(model, clip, bias=dense_pair_bias(clip, "release", 3.0))
    else:
        bias = dense_pair_bias(mirrored(clip), "release", 1.0)
        expected = plain_loop(model, clip, bias=bias, marks_last_frame=True)
    assert_near(got, expected)
    assert said == [f"by {match.value}"]


def test_one_gga_serves_both_in_turn(model, clip):
    """Directions that were computed for one are not the other's."""
    patched = with_matched_gga(model, clip)
    runs = {match: run_graph(with_egox(patched, clip, match=match), clip) for match in (*Match, *Match)}
    for match in Match:
        fresh = run_graph(with_egox(with_matched_gga(model, clip), clip, match=match), clip)
        assert torch.equal(runs[match], fresh)
    assert (runs[Match.INFERENCE] - runs[Match.TRAINING]).abs().max() > 1e-2


def test_gga_off_is_a_model_without_it(model, clip):
    plain = plain_loop(model, clip)
    assert_near(run_graph(without_gga(with_gga(with_egox(model, clip), clip)), clip), plain)
    guided = with_gga(with_egox(model, clip), clip)
    without_gga(guided)
    assert (run_graph(guided, clip) - plain).abs().max() > 1e-2, "the model that came in was changed"


# What travels -------------------------------------------------------------------------------------------------------


def test_the_choice_travels_with_the_latent():
    samples = torch.zeros(1)
    assert match_of_latent({"samples": samples}) is None
    assert match_of_latent({"samples": samples, LATENT_KEY: "released training"}) is Match.TRAINING
    with pytest.raises(ValueError, match=r"'of tomorrow'; expected 'released inference' or 'released training'"):
        match_of_latent({"samples": samples, LATENT_KEY: "of tomorrow"})


def test_what_is_in_force_is_said():
    assert ExoSettings().describe() == "released inference: clean exo latent, mask on the first exo frame."
    training = ExoSettings(match=Match.TRAINING, noisy=True).describe()
    assert training == "released training: NOISY exo latent (ablation), mask on the first and the last exo frame."
