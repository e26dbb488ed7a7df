"""Wrong inputs: a clear error, before the first step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.wan.egox.apply import apply_egox
from exo2ego.wan.egox.gga import GGASettings, apply_gga
from support.egox_graph import run_graph, with_egox, with_gga
from support.egox_witness import made_up_clip


@pytest.fixture
def watched(model):
    """A model that counts its calls."""
    model.steps = []

    def count(executor, *args, **kwargs):
        model.steps.append(1)
        return executor(*args, **kwargs)

    model.add_wrapper_with_key("diffusion_model", "count", count)
    return model


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 16, 3, 6, 9), "odd height or width"),
        ((1, 16, 3, 5, 10), "odd height or width"),
        ((1, 4, 3, 6, 10), "Wan 2.1 video latent"),
        ((1, 48, 3, 6, 10), "Wan 2.1 video latent"),
        ((1, 16, 6, 10), "Wan 2.1 video latent"),
    ],
)
def test_exo_latents_of_another_kind(model, shape, message):
    with pytest.raises(ValueError, match=message):
        apply_egox(model, torch.zeros(shape))


def test_exo_latents_that_are_not_finite(model, clip):
    exo = clip.exo.clone()
    exo[0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        apply_egox(model, exo)


@pytest.mark.parametrize(
    ("sampled", "message"),
    [
        ({"frames": 4}, "has 3 frames and the sampled ego latent 4"),
        ({"height": 8}, "same height, got 6 and 8"),
        ({"ego_width": 7}, "divisible by 16"),
        ({"height": 7}, "divisible by 16"),
    ],
)
def test_latents_that_do_not_fit(watched, clip, sampled, message):
    with pytest.raises(ValueError, match=message):
        run_graph(with_egox(watched, clip), made_up_clip(**sampled))
    assert not watched.steps


def test_image_latents(watched, clip):
    from support.comfyui import k_sampler

    text = [[clip.positive, {}]]
    with pytest.raises(ValueError, match="Wan video latent"):
        k_sampler(with_egox(watched, clip), text, text, torch.ones(1, 4, 6, 6))
    assert not watched.steps


def test_batches_that_do_not_fit(watched, clip):
    two = replace(clip, exo=clip.exo.repeat(2, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="batch of 2 and the sampled latent one of 3"):
        run_graph(with_egox(watched, two), clip, batch=3)
    assert not watched.steps


def test_gga_without_egox(watched, clip):
    with pytest.raises(ValueError, match="put EgoX Apply"):
        run_graph(with_gga(watched, clip), clip)
    assert not watched.steps


def test_gga_with_a_batch_of_different_clips(watched, clip):
    """All would be guided by the geometry of one."""
    two = replace(clip, exo=torch.cat([clip.exo, made_up_clip(seed=9).exo]))
    with pytest.raises(ValueError, match="batch of different clips"):
        run_graph(with_gga(with_egox(watched, two), clip), clip, batch=2)
    assert not watched.steps


def test_gga_with_a_batch_of_one_clip(model, clip):
    two = replace(clip, exo=clip.exo.repeat(2, 1, 1, 1, 1))
    got = run_graph(with_gga(with_egox(model, two), clip), clip, batch=2)
    torch.testing.assert_close(got, run_graph(with_gga(with_egox(model, clip), clip), clip, batch=2))


def test_directions_of_another_clip(watched, clip):
    other = made_up_clip(frames=2)
    with pytest.raises(ValueError, match="do not fit the latents"):
        run_graph(with_gga(with_egox(watched, clip), other), clip)
    assert not watched.steps


def test_errors_of_the_direction_source_stop_before_the_first_step(watched, clip):
    class Failing:
        def directions(self, grid, progress=None):
            raise ValueError(f"the clip has 2 latent frames, not {grid.frames}")

    with pytest.raises(ValueError, match="2 latent frames, not 3"):
        run_graph(apply_gga(with_egox(watched, clip), Failing()), clip)
    assert not watched.steps


def test_samplers_that_bypass_the_guider(model, clip):
    patched = with_gga(with_egox(model, clip), clip)
    options = {"wrappers": patched.wrappers, "sigmas": torch.ones(1)}
    x = torch.zeros(1, 36, 3, 6, 6)
    with pytest.raises(ValueError, match="bypasses ComfyUI's guider"):
        model.model.diffusion_model(x, torch.ones(1), clip.positive, clip.clip_features, None, options)


def test_conditioning_that_appends_frames(model, clip):
    patched = with_egox(model, clip)
    x = torch.zeros(1, 36, 3, 6, 6)
    options = {"wrappers": patched.wrappers}
    with pytest.raises(ValueError, match="time_dim_concat"):
        model.model.diffusion_model(x, torch.ones(1), clip.positive, clip.clip_features, x, options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start_percent": 0.6, "end_percent": 0.4}, "start_percent"),
        ({"end_percent": 1.5}, "start_percent"),
        ({"strength": -1.0}, "lambda"),
        ({"form": "paper", "strength": 0.0}, "lambda"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        GGASettings(**settings)


@pytest.mark.parametrize(("first", "last"), [(2, -1), (1, 0), (-1, 1)])
def test_blocks_that_the_model_lacks(model, clip, first, last):
    with pytest.raises(ValueError, match="none of the model's 0 to 1"):
        with_gga(model, clip, first_block=first, last_block=last)
