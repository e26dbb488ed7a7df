"""Clips longer than the model's context: every window sees its own exo frames and poses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.common.windows import Windows
from exo2ego.networks.components.metadata import Component
from exo2ego.wan.shared.long_clips import sample_in_windows
from support.egosyn_graph import SHIFT, STEPS, noise_of, run_syn, with_syn
from support.egosyn_witness import SynWeights, made_up_syn_clip, sample
from support.tiny_components import VAWAN_POSES, tiny_component, tiny_vawan
from support.tiny_wan import wan_state_dict
from support.windows import SEEN, WINDOWS, windows_handler

FULL = (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)


def parts_of(system):
    if system in VAWAN_POSES:
        return [tiny_vawan(system)]
    return [tiny_component(name) for name in (FULL if system == "full" else (Component.VAWAN,))]


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # in ComfyUI's context windows
@pytest.mark.parametrize("causal_fix", [False, True])
@pytest.mark.parametrize("system", ["full", "vawan", *VAWAN_POSES])
def test_every_window_sees_its_own_exo_frames_and_poses(wan22, system, causal_fix):
    clip, parts = made_up_syn_clip(seed=4, frames=4), parts_of(system)
    patched = with_syn(wan22, clip, *parts)
    patched.model_options["context_handler"] = windows_handler(2, causal_fix=causal_fix)
    # A frame before a window comes from the window before; in one step none of them waits for another.
    steps = 1 if causal_fix else STEPS
    got = run_syn(patched, clip, steps=steps)
    for given, frames in zip(WINDOWS, SEEN[causal_fix]):
        expected = window_alone(clip, parts, frames, steps)
        torch.testing.assert_close(got[:, :, given], expected[:, :, -len(given) :], rtol=0, atol=1e-4)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("system", ["full", "vawan", *VAWAN_POSES])
def test_windows_of_our_own_in_any_order(wan22, system, first):
    """Without what they share, they are two clips."""
    clip, parts, windows = made_up_syn_clip(seed=4, frames=4), parts_of(system), Windows(2, 0)
    if first:
        patched = with_syn(sample_in_windows(wan22, windows), clip, *parts)
    else:
        patched = sample_in_windows(with_syn(wan22, clip, *parts), windows)
    got = run_syn(patched, clip)
    for frames in WINDOWS:
        torch.testing.assert_close(got[:, :, frames], window_alone(clip, parts, frames), rtol=0, atol=1e-4)


def test_windows_that_share_a_frame_are_blended_there(wan22):
    clip, parts = made_up_syn_clip(seed=4, frames=5), parts_of("full")
    got = run_syn(sample_in_windows(with_syn(wan22, clip, *parts), Windows(3, 1)), clip, steps=1)
    first, last = (window_alone(clip, parts, list(range(start, start + 3)), steps=1) for start in (0, 2))
    torch.testing.assert_close(got[:, :, :2], first[:, :, :2], rtol=0, atol=1e-4)
    torch.testing.assert_close(got[:, :, 2], (first[:, :, 2] + last[:, :, 0]) / 2, rtol=0, atol=1e-4)
    torch.testing.assert_close(got[:, :, 3:], last[:, :, 1:], rtol=0, atol=1e-4)


def test_a_clip_of_one_window_is_bit_equal(wan22):
    clip = made_up_syn_clip(seed=4, frames=3)
    patched = with_syn(wan22, clip, *parts_of("full"))
    assert torch.equal(run_syn(patched, clip), run_syn(sample_in_windows(patched, Windows(3, 1)), clip))


def window_alone(clip, parts, frames, steps=STEPS):
    """Sample latent frames of a clip as a clip of their own, by hand."""
    window = replace(
        clip, exo=clip.exo[:, :, frames], condition=clip.condition[:, :, frames], mask=clip.mask[:, :, frames]
    )
    weights = SynWeights(wan_state_dict("i2v_2.2"), **{part.component.value: part.state_dict for part in parts})
    noise = noise_of(clip)[:, :, frames]
    return sample(weights, window, noise, steps=steps, shift=SHIFT, cfg=3.5, pose_frames=frames)
