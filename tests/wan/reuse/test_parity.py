"""Steps of the ego tokens alone, beside a witness that freezes exo keys and values by hand."""

from __future__ import annotations

import itertools

import pytest
import torch

from support.egox_graph import SHIFT, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import dense_pair_bias, made_up_clip, sample
from support.reuse_graph import EGO_TOKENS, EXO_COLUMNS, TOKENS, steps_of, watched, with_reuse
from support.reuse_witness import frozen_exo_predict

FORMS = [None, ("paper", 2.0), ("release", 3.0)]


def with_all(model, clip, form, every=2, keep="auto"):
    patched = with_reuse(with_egox(model, clip), every, keep)
    return patched if form is None else with_gga(patched, clip, form=form[0], strength=form[1])


def by_hand(model, clip, form, is_full, steps, cfg=5.0, batch=1, **how):
    predict = frozen_exo_predict(model.model.diffusion_model, is_full, EXO_COLUMNS, **how)
    bias = None if form is None else dense_pair_bias(clip, *form)
    return sample(predict, clip, noise_of(clip, batch), steps=steps, shift=SHIFT, cfg=cfg, bias=bias)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_a_step_of_the_ego_view_alone(model, clip, form, cfg):
    got = run_graph(with_all(model, clip, form), clip, steps=2, cfg=cfg)
    expected = by_hand(model, clip, form, lambda call: call == 0, 2, cfg)
    guidance = 2 * cfg - 1  # by which CFG enlarges what the two predictions are off
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * guidance)
    full = run_graph(with_all(model, clip, form, every=1), clip, steps=2, cfg=cfg)
    assert (full - expected).abs().max() > 1e-3  # what parity says: the keys' age shows


@pytest.mark.parametrize("keep", ["auto", "device", "host"])
@pytest.mark.parametrize("every", [2, 3, 1000])
def test_a_run(model, clip, every, keep):
    form = ("release", 3.0)
    patched, seen = watched(model)
    got = run_graph(with_all(patched, clip, form, every, keep), clip, steps=5)
    expected = by_hand(model, clip, form, lambda call: call % every == 0, 5)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    assert steps_of(seen) == "".join("F" if step % every == 0 else "e" for step in range(5))


@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_back_ends(model, clip, backend):
    got = run_graph(with_gga(with_reuse(with_egox(model, clip)), clip, backend=backend), clip, steps=4)
    expected = by_hand(model, clip, ("release", 3.0), lambda call: call % 2 == 0, 4)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_full_steps_are_bit_equal(model, clip):
    """A run of one step is a full one, and so is every step of a run whose steps are further apart."""
    for form in FORMS:
        plain = with_all(model, clip, form, every=1)
        for cfg in (1.0, 5.0):
            expected = run_graph(plain, clip, steps=1, cfg=cfg)
            assert torch.equal(run_graph(with_all(model, clip, form), clip, steps=1, cfg=cfg), expected)


@pytest.mark.parametrize("keep", ["device", "device fp8", "host"])
def test_off_is_bit_equal(model, clip, keep):
    plain = with_gga(with_egox(model, clip), clip)
    expected = run_graph(plain, clip)
    off = with_reuse(plain, 1, keep)
    assert torch.equal(run_graph(off, clip), expected)
    assert off.wrappers == plain.wrappers
    assert torch.equal(run_graph(with_reuse(with_reuse(plain, 2), 1), clip), expected)  # switched off again
    assert not torch.equal(run_graph(with_reuse(plain, 2, keep), clip), expected)


def test_a_batch_of_two(model, clip):
    got = run_graph(with_all(model, clip, None), clip, steps=4, batch=2)
    expected = by_hand(model, clip, None, lambda call: call % 2 == 0, 4, batch=2)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    assert (got[0] - got[1]).abs().max() > 0.1


@pytest.mark.parametrize("apart", [[True], [True, False], [False, True]], ids=["apart", "changing", "changing back"])
def test_positive_and_negative_apart(model, clip, apart):
    """Where memory is short ComfyUI runs the two one after the other, as it finds at every step anew."""
    together = run_graph(with_all(model, clip, None), clip, steps=4)
    patched, seen = watched(model)
    answers = itertools.cycle(apart)

    def memory_required(shape, cond_shapes=None):
        return 1e18 if shape[0] == 2 and next(answers) else 0.0

    patched.add_object_patch("memory_required", memory_required)
    got = run_graph(with_all(patched, clip, None), clip, steps=4)
    torch.testing.assert_close(got, together, rtol=0, atol=1e-4)
    assert len(seen) > 4 * 2
    assert set(seen) == {TOKENS, EGO_TOKENS}


@pytest.mark.parametrize(
    "sizes",
    [
        {"frames": 1, "height": 4, "ego_width": 4},
        {"frames": 2, "height": 32, "ego_width": 32},  # as many ego tokens as the text has
    ],
    ids=str,
)
def test_other_sizes(model, sizes):
    clip = made_up_clip(seed=1, exo_width=2 * EXO_COLUMNS, **sizes)
    got = run_graph(with_all(model, clip, None), clip, steps=2, cfg=1.0)
    expected = by_hand(model, clip, None, lambda call: call == 0, 2, cfg=1.0)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
