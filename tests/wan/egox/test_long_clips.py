"""One sampling run in overlapping windows, beside a witness that blends by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import comfy.model_management
import comfy.utils
import pytest
import torch

from exo2ego.common.windows import Windows
from exo2ego.wan.egox.attention_probe import probed_layout
from exo2ego.wan.shared.long_clips import WindowMemoryEstimate, sample_in_windows
from support.blended_windows import blending
from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import made_up_clip, sample
from support.wan_witnesses import comfyui_predict
from support.windows import windows_handler


@pytest.fixture(scope="module")
def long_clip():
    return made_up_clip(seed=4, frames=5)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_windows_are_blended_at_every_step(model, long_clip, guided, first):
    windows = Windows(3, 1)
    patched = sample_in_windows(model, windows) if first else model
    patched = with_egox(patched, long_clip)
    patched = with_gga(patched, long_clip) if guided else patched
    patched = patched if first else sample_in_windows(patched, windows)
    got = run_graph(patched, long_clip)
    predict = blending(comfyui_predict(model.model.diffusion_model), long_clip, guided=guided)
    expected = sample(predict, long_clip, noise_of(long_clip), steps=STEPS, shift=SHIFT, cfg=5.0)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_a_clip_of_one_window_is_bit_equal(model, long_clip):
    patched = with_gga(with_egox(model, long_clip), long_clip)
    assert torch.equal(run_graph(patched, long_clip), run_graph(sample_in_windows(patched, Windows(5, 2)), long_clip))


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # in ComfyUI's context windows
def test_windows_of_comfyui_go_before_ours(model, long_clip):
    clip = made_up_clip(seed=4, frames=4)
    plain = with_egox(model, clip)
    ours = sample_in_windows(plain, Windows(3, 1))
    for patched in (plain, ours):
        patched.model_options["context_handler"] = windows_handler(2)
    assert torch.equal(run_graph(plain, clip), run_graph(ours, clip))


def test_memory_is_that_of_one_window(model, long_clip):
    def estimate(shape, cond_shapes=None):
        return float(torch.Size(shape).numel())

    once = WindowMemoryEstimate(Windows(13, 4), estimate)
    assert once.memory_required([2, 16, 75, 56, 56]) == estimate([2, 16, 13, 56, 56])
    assert once.memory_required([2, 16, 5, 56, 56]) == estimate([2, 16, 5, 56, 56])
    short = replace(long_clip, exo=long_clip.exo[:, :, :3])
    widened = with_egox(model, short).get_model_object("memory_required")(list(short.exo.shape))
    for patched in (
        sample_in_windows(with_egox(model, long_clip), Windows(3, 1)),
        with_egox(sample_in_windows(model, Windows(3, 1)), long_clip),
        sample_in_windows(with_egox(sample_in_windows(model, Windows(3, 1)), long_clip), Windows(3, 1)),
    ):
        assert patched.get_model_object("memory_required")(list(long_clip.exo.shape)) == pytest.approx(widened)


def test_it_ends_between_windows(model, long_clip, monkeypatch):
    """Cancel: ComfyUI is asked before every window, not once a step."""
    asked = []
    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", lambda: asked.append(None))
    run_graph(sample_in_windows(with_egox(model, long_clip), Windows(3, 1)), long_clip, steps=1, cfg=1.0)
    with_windows = len(asked)
    asked.clear()
    run_graph(with_egox(model, long_clip), long_clip, steps=1, cfg=1.0)
    assert with_windows >= len(asked) + 2


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_the_bar_moves_at_every_window_and_never_back(model, long_clip, cfg):
    """By parts of a step, out of all steps; at a window's end that is no step's."""
    told = []
    comfy.utils.set_progress_bar_global_hook(lambda value, total, *others, **more: told.append((value, total)))
    try:
        for _ in range(2):  # a second run begins anew
            run_graph(sample_in_windows(with_egox(model, long_clip), Windows(2, 1)), long_clip, steps=3, cfg=cfg)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    within = [value for value, total in told if value % 1]
    assert within == 2 * [0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 2.25, 2.5, 2.75]
    assert {total for _, total in told} == {3}
    assert all(before <= after or after < 1 for (before, _), (after, _) in itertools.pairwise(told))


def test_no_attention_map_of_windows(model, long_clip):
    with pytest.raises(ValueError, match="take the model before the node that makes windows"):
        probed_layout(sample_in_windows(with_egox(model, long_clip), Windows(3, 1)), {"samples": torch.zeros(1)})
