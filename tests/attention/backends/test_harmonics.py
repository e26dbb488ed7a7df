"""The bias as spherical harmonics: how far it is from GGA's own, and that attention with it is what it says."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import legval
from torch._subclasses.fake_tensor import FakeTensorMode

from exo2ego.attention import choice
from exo2ego.attention.backends import harmonics as back_end
from exo2ego.attention.backends.harmonics import coefficients, harmonics
from exo2ego.attention.backends.reference import dense_attention, dense_bias
from exo2ego.attention.bias import GGABias, GGAForm, without_missing
from exo2ego.attention.call import AttentionCall
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.guided_attention import gga_attention
from exo2ego.attention.layout import TokenLayout
from support.random_attention import (
    BIASES,
    HEADS,
    LAYOUTS,
    oracle,
    plain,
    random_directions,
    random_qkv,
    relative_error,
    with_missing,
)
from support.tensor_memory import counted_tensors


def legendre_sum(bias: GGABias, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """NumPy's Legendre polynomials of the angle, degree l times both lengths to the power of l; [Q, K] float64."""
    queries, has_query = without_missing(queries.double())
    keys, has_key = without_missing(keys.double())
    lengths = queries.norm(dim=-1)[:, None] * keys.norm(dim=-1)
    cosine = (queries @ keys.T / lengths.clamp(min=1e-12)).clamp(-1, 1)
    total = torch.zeros_like(cosine)
    for degree, factor in enumerate(coefficients(bias)):
        of_degree = torch.from_numpy(legval(cosine.numpy(), [0.0] * degree + [factor]))
        total += torch.where(has_query[:, None] & has_key, lengths**degree * of_degree, 0.0)
    return total


def approximated(bias: GGABias, degrees: np.ndarray) -> torch.Tensor:
    """What the channels make of pairs so many degrees apart."""
    angle = torch.from_numpy(np.radians(degrees))
    ahead = torch.tensor([[0.48, 0.6, 0.64]], dtype=torch.float64)
    across = torch.tensor([[0.8, -0.64, 0.0]], dtype=torch.float64)
    across = across / across.norm()
    assert float(ahead @ across.T) == pytest.approx(0.0, abs=1e-12)
    weights = torch.tensor([coefficients(bias)[degree] for degree in back_end._DEGREES], dtype=torch.float64)
    turned = angle.cos()[:, None] * ahead + angle.sin()[:, None] * across
    return (harmonics(ahead) * weights) @ harmonics(turned).T


@pytest.mark.parametrize("bias", BIASES)
def test_the_bias_is_off_by_at_most_0_3_nats_to_150_degrees(bias):
    """Which the help says; the issue hoped for 0.4. Farther behind it cannot follow the logarithm."""
    degrees = np.linspace(0, 150, 1501)
    exact = bias.of_cosine(torch.from_numpy(np.cos(np.radians(degrees))))
    assert float((approximated(bias, degrees)[0] - exact).abs().max()) < 0.3


def test_the_release_s_own_keeps_little_straight_behind():
    ends = approximated(GGABias(), np.array([0.0, 180.0]))[0]
    assert 0.02 < float((ends[1] - ends[0]).exp()) < 0.035


def test_the_bias_of_a_real_take(shared_take):
    golden = np.load(shared_take("joker") / "gga_golden.npz")
    queries, keys = (torch.from_numpy(golden[name])[6].flatten(0, -2) for name in ("q_dir", "k_dir"))
    error = (legendre_sum(GGABias(), queries, keys) - GGABias()(queries, keys)).abs()
    assert float((error < 0.3).float().mean()) > 0.9
    assert float(error.flatten().median()) < 0.12


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_has_the_bias_that_the_series_gives(layout, batch):
    """Which has its own witness; missing directions and ego keys have none."""
    directions = with_missing(random_directions(layout)) if layout.rows > 2 else random_directions(layout)
    q, k, v = random_qkv(layout, batch)
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, GGABias()), plain, "harmonics")
    expected = dense_attention(q.double(), k.double(), v.double(), HEADS, series_bias(layout, directions))
    assert relative_error(got, expected) < 1e-5


def series_bias(layout: TokenLayout, directions: TokenDirections) -> torch.Tensor:
    full = torch.zeros(layout.n_tokens, layout.n_tokens, dtype=torch.float64)
    token = torch.arange(layout.n_tokens)
    is_exo, frame = token % layout.columns < layout.exo_columns, token // (layout.rows * layout.columns)
    for t in range(layout.frames):
        ego = token[~is_exo & (frame == t)]
        pairs = legendre_sum(GGABias(), directions.ego_queries[t].flatten(0, 1), directions.exo_keys[t].flatten(0, 2))
        full[ego.unsqueeze(1), token[is_exo]] = pairs
    return full


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_result_is_nearer_to_guided_than_plain_attention_is(dtype):
    layout = LAYOUTS[-1]
    directions = TokenDirections(random_directions(layout).ego_queries, random_directions(layout).exo_keys / 0.8)
    q, k, v = random_qkv(layout, 1, dtype, head_dim=64)
    call = AttentionCall(q, k, v, HEADS, layout, directions, GGABias())
    got = gga_attention(call, plain, "harmonics")
    expected = oracle(q, k, v, layout, directions, GGABias())
    assert got.dtype == dtype
    assert relative_error(got, expected) < 0.1
    assert relative_error(plain(q, k, v), expected) > 0.5


def test_shares_of_heads_and_other_clips_change_nothing(monkeypatch):
    layout = LAYOUTS[0]
    q, k, v = random_qkv(layout, 2)
    calls = [
        AttentionCall(q, k, v, HEADS, layout, random_directions(layout, seed), bias)
        for seed, bias in ((0, GGABias()), (1, GGABias()), (0, GGABias(GGAForm.PAPER, 0.3)))
    ]
    whole = [gga_attention(call, plain, "harmonics") for call in (*calls, calls[0])]
    assert torch.equal(whole[0], whole[3])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0], whole[2])
    monkeypatch.setattr(back_end, "COPIED_BYTES", 1)
    torch.testing.assert_close(gga_attention(calls[0], plain, "harmonics"), whole[0], rtol=1e-5, atol=1e-6)


def test_it_takes_what_the_help_says():
    layout = TokenLayout(13, 28, 49, 28)
    with FakeTensorMode():
        q, k, v, out = (torch.empty(1, layout.n_tokens, 40 * 128, dtype=torch.bfloat16) for _ in range(4))
        directions = TokenDirections(torch.empty(13, 28, 28, 3), torch.empty(13, 13, 28, 49, 3))
        with counted_tensors() as memory:
            back_end._known[directions] = {}
            call = AttentionCall(q, k, v, 40, layout, directions, GGABias())
            known = torch.empty(13, 784, 16, dtype=q.dtype), torch.empty(13, layout.n_tokens, 16, dtype=q.dtype)
            back_end._known[directions][call.bias, q.dtype] = known
            back_end.attend(call, out)
        assert 250e6 < memory.peak < 400e6
        assert memory.live < 20e6


def test_it_is_taken_only_where_it_is_asked_for(monkeypatch, caplog):
    monkeypatch.setattr(choice, "_said", set())
    layout = LAYOUTS[0]
    q, k, v = random_qkv(layout, 1)
    call = AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias())
    with caplog.at_level(logging.INFO, logger="exo2ego.attention"):
        gga_attention(call, plain)
    assert "harmonics" not in caplog.text
    assert "harmonics" in choice.CHOICES
    grown = AttentionCall(q.requires_grad_(), k, v, HEADS, layout, random_directions(layout), GGABias())
    with pytest.raises(ValueError, match="'harmonics' cannot be used here: it approximates the bias, and a training"):
        gga_attention(grown, plain, "harmonics")


def test_the_dense_bias_and_the_series_are_not_the_same():
    """The tests above would hold for any function otherwise."""
    layout = LAYOUTS[0]
    directions = random_directions(layout)
    difference = series_bias(layout, directions) - dense_bias(layout, directions, GGABias()).double()
    assert 0.01 < float(difference.abs().max()) < 6
