"""Clips longer than the model's context: every window sees its own exo frames and poses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from support.egosyn_graph import SHIFT, STEPS, noise_of, run_syn, with_syn
from support.egosyn_witness import SynWeights, made_up_syn_clip, sample
from support.tiny_components import VAWAN_POSES, tiny_component, tiny_vawan
from support.tiny_wan import wan_state_dict
from support.windows import SEEN, WINDOWS, windows_handler

FULL = (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # in ComfyUI's context windows
@pytest.mark.parametrize("causal_fix", [False, True])
@pytest.mark.parametrize("system", ["full", "vawan", *VAWAN_POSES])
def test_every_window_sees_its_own_exo_frames_and_poses(wan22, system, causal_fix):
    clip = made_up_syn_clip(seed=4, frames=4)
    if system in VAWAN_POSES:
        parts = [tiny_vawan(system)]
    else:
        parts = [tiny_component(name) for name in (FULL if system == "full" else (Component.VAWAN,))]
    patched = with_syn(wan22, clip, *parts)
    patched.model_options["context_handler"] = windows_handler(2, causal_fix=causal_fix)
    # A frame before a window comes from the window before; in one step none of them waits for another.
    steps = 1 if causal_fix else STEPS
    got = run_syn(patched, clip, steps=steps)
    weights = SynWeights(wan_state_dict("i2v_2.2"), **{part.component.value: part.state_dict for part in parts})
    for given, frames in zip(WINDOWS, SEEN[causal_fix]):
        window = replace(
            clip, exo=clip.exo[:, :, frames], condition=clip.condition[:, :, frames], mask=clip.mask[:, :, frames]
        )
        noise = noise_of(clip)[:, :, frames]
        expected = sample(weights, window, noise, steps=steps, shift=SHIFT, cfg=3.5, pose_frames=frames)
        torch.testing.assert_close(got[:, :, given], expected[:, :, -len(given) :], rtol=0, atol=1e-4)
