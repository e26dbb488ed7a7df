"""GGA in a training: gradients of every back end against the readable twin, dense attention with the dense bias."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from exo2ego.attention.backends import flex, sdpa
from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.choice import BACKENDS
from exo2ego.attention.guided_attention import gga_attention
from exo2ego.attention.layout import TokenLayout
from support.random_attention import (
    BIASES,
    HEADS,
    LAYOUTS,
    kept_under_checkpointing,
    oracle,
    plain_sdpa,
    random_directions,
    random_qkv,
    relative_error,
    with_missing,
)


def leaves(layout, batch=1, dtype=torch.float64):
    return [x.requires_grad_() for x in random_qkv(layout, batch, dtype)]


def gradients(out, inputs):
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out.dtype)
    return torch.autograd.grad((out * weights).sum(), inputs)


@pytest.mark.parametrize("backend", ["sdpa", "reference"])
@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[3]])
@pytest.mark.parametrize("bias", BIASES)
def test_gradients_equal_those_of_dense_attention(backend, layout, bias, monkeypatch):
    monkeypatch.setattr(sdpa, "CHUNK_BYTES", 1 << 12)  # several chunks, each across the border of frames
    directions = with_missing(random_directions(layout))
    q, k, v = leaves(layout, batch=2)
    got = gradients(
        gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain_sdpa, backend), (q, k, v)
    )
    expected = gradients(oracle(q, k, v, layout, directions, bias), (q, k, v))
    for mine, theirs in zip(got, expected):
        assert relative_error(mine, theirs) < 1e-5  # of directions, which are float32


@pytest.mark.parametrize("bias", BIASES)
def test_flex_has_a_score_mod_that_differentiates(bias):
    """As torch uses it on GPUs: token by token, its gradient is that of the logit alone, whatever the directions."""
    layout = LAYOUTS[0]
    add_bias = flex.score_mod(with_missing(random_directions(layout)).extended(bias), 0, layout)
    query, token = torch.meshgrid(
        torch.arange(layout.ego_tokens_per_frame), torch.arange(layout.n_tokens), indexing="ij"
    )
    logits = torch.randn(query.shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(add_bias(logits, query, query, query, token).sum(), logits)
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_gradients_are_those_of_the_output():
    """By finite differences."""
    layout = TokenLayout(2, 1, 2, 2)
    directions, bias = random_directions(layout), GGABias()

    def attention(q, k, v):
        return gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain_sdpa, "sdpa")

    q, k, v = random_qkv(layout, 1, torch.float64, head_dim=2)
    assert gradcheck(attention, [x.requires_grad_() for x in (q, k, v)])


def test_in_bfloat16_they_are_within_a_hundredth():
    layout, bias = LAYOUTS[0], GGABias(GGAForm.RELEASE, 3.0)
    directions = random_directions(layout)
    q, k, v = leaves(layout, dtype=torch.bfloat16)
    got = gradients(
        gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain_sdpa, "sdpa"), (q, k, v)
    )
    expected = gradients(oracle(q, k, v, layout, directions, bias), (q, k, v))
    for mine, theirs in zip(got, expected):
        assert relative_error(mine, theirs) < 2e-2


def test_the_bias_is_not_kept_for_the_backward_pass():
    layout = TokenLayout(3, 7, 11, 9)
    q, k, v = leaves(layout)
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    call = AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias())
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        gga_attention(call, plain_sdpa, "sdpa")
    pairs = layout.frames * layout.ego_tokens_per_frame * layout.n_tokens
    assert max(tensor.numel() for tensor in kept) < pairs / 2


@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_gradient_checkpointing_lets_queries_keys_and_values_go(backend):
    """What a block makes is made again in the backward pass: nothing holds on to it until then."""
    assert kept_under_checkpointing(LAYOUTS[0], backend) == 0


def test_auto_leaves_out_what_has_no_backward_pass():
    layout = LAYOUTS[0]
    q, k, v = leaves(layout)
    call = AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias())
    for backend in ("triton", "flex"):  # flex has one on GPUs
        assert "no backward pass" in BACKENDS[backend].unsupported(call)
        with torch.no_grad():
            assert "no backward pass" not in (BACKENDS[backend].unsupported(call) or "")
    assert gga_attention(call, plain_sdpa).requires_grad
