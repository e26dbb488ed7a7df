"""Clips longer than the model's context: ComfyUI runs windows of frames, and the exo view goes along."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.wan.egox.match import Match
from support.egox_graph import SEED, SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import dense_pair_bias, made_up_clip, sample
from support.wan_witnesses import comfyui_predict
from support.windows import SEEN, WINDOWS, windows_handler


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # in ComfyUI's context windows
@pytest.mark.parametrize("causal_fix", [False, True])
@pytest.mark.parametrize("guided", [False, True])
def test_every_window_sees_its_own_exo_frames_and_directions(model, guided, causal_fix):
    clip = made_up_clip(seed=4, frames=4)
    patched = with_egox(model, clip)
    patched = with_gga(patched, clip) if guided else patched
    patched.model_options["context_handler"] = windows_handler(2, causal_fix=causal_fix)
    # A frame before a window comes from the window before; in one step none of them waits for another.
    steps = 1 if causal_fix else STEPS
    got = run_graph(patched, clip, steps=steps)

    predict = comfyui_predict(model.model.diffusion_model)
    for given, frames in zip(WINDOWS, SEEN[causal_fix]):
        window = replace(
            clip,
            exo=clip.exo[:, :, frames],
            prior=clip.prior[:, :, frames],
            ego_queries=clip.ego_queries[frames],
            exo_keys=clip.exo_keys[frames][:, frames],
        )
        expected = sample(
            predict,
            window,
            noise_of(clip)[:, :, frames],
            steps=steps,
            shift=SHIFT,
            cfg=5.0,
            bias=dense_pair_bias(window, "release", 3.0) if guided else None,
            marks_first_frame=frames[0] == 0,
        )
        torch.testing.assert_close(got[:, :, given], expected[:, :, -len(given) :], rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # in ComfyUI's context windows
def test_every_window_sees_its_own_mask_and_noise_of_the_exo_view(model):
    clip = made_up_clip(seed=4, frames=4)
    patched = with_egox(model, clip, match=Match.TRAINING, noisy=True)
    patched.model_options["context_handler"] = windows_handler(2)
    got = run_graph(patched, clip)

    generator = torch.manual_seed(SEED)
    noise = torch.randn(clip.prior.shape, generator=generator)
    exo_noise = torch.randn(clip.exo.shape, generator=generator)
    for frames in ([0, 1], [2, 3]):
        expected = sample(
            comfyui_predict(model.model.diffusion_model),
            replace(clip, exo=clip.exo[:, :, frames], prior=clip.prior[:, :, frames]),
            noise[:, :, frames],
            steps=STEPS,
            shift=SHIFT,
            cfg=5.0,
            marks_first_frame=frames[0] == 0,
            marks_last_frame=frames[-1] == 3,
            exo_noise=exo_noise[:, :, frames],
        )
        torch.testing.assert_close(got[:, :, frames], expected, rtol=0, atol=1e-4)
