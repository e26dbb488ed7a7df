"""One token's attention against rows of dense attention."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from exo2ego.attention.backends.reference import dense_bias
from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.layout import TokenLayout
from exo2ego.attention.probe import AttentionProbe, EgoToken, attention_of_token, bias_of_token

HEADS = 2
LAYOUT = TokenLayout(3, 4, 5, 4)
TOKENS = [EgoToken(0, 0, 0), EgoToken(2, 1, 3), EgoToken(1, 3, 2)]
BIASES = [GGABias(GGAForm.PAPER, 2.0), GGABias()]


def random_directions(layout: TokenLayout = LAYOUT) -> TokenDirections:
    random = torch.Generator().manual_seed(0)
    queries = torch.randn(layout.frames, layout.rows, layout.ego_columns, 3, generator=random)
    keys = torch.randn(layout.frames, layout.frames, layout.rows, layout.exo_columns, 3, generator=random)
    queries, keys = (torch.nn.functional.normalize(d, dim=-1) for d in (queries, keys))
    return TokenDirections(queries, 0.8 * keys)


def random_qk(layout: TokenLayout = LAYOUT, batch: int = 1, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(batch, layout.n_tokens, HEADS * 8, generator=random) for _ in range(2))
    return q, k


def dense_map(q, k, bias=None) -> torch.Tensor:
    """All rows of all heads in float64, averaged: [n_tokens, n_tokens]."""
    query, key = (x.double().unflatten(2, (HEADS, -1)).transpose(1, 2) for x in (q, k))
    logits = query @ key.mT / 8**0.5
    return (logits if bias is None else logits + bias).softmax(dim=-1).mean(dim=(0, 1))


def test_the_place_of_a_token():
    """By hand: frame 2, row 1, ego column 3 of 3 frames of 4 rows and 5 + 4 columns."""
    assert EgoToken(2, 1, 3).index(LAYOUT) == 2 * 36 + 1 * 9 + 5 + 3
    assert EgoToken.at(LAYOUT, 2, 0.76, 0.3) == EgoToken(2, 1, 3)
    assert EgoToken.at(LAYOUT, 0, 0.0, 0.0) == EgoToken(0, 0, 0)
    assert EgoToken.at(LAYOUT, 0, 1.0, 1.0) == EgoToken(0, 3, 3)
    assert EgoToken.at(LAYOUT, 0, 0.5, 0.49) == EgoToken(0, 1, 2)


@pytest.mark.parametrize(("frame", "x", "y"), [(3, 0.5, 0.5), (-1, 0.5, 0.5), (0, 1.1, 0.5), (0, 0.5, float("nan"))])
def test_points_outside(frame, x, y):
    with pytest.raises(ValueError, match=r"latent frames 0 to 2|from 0 to 1"):
        EgoToken.at(LAYOUT, frame, x, y)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("bias", BIASES)
def test_the_bias_of_a_token_is_a_row_of_the_dense_bias(token, bias):
    directions = random_directions()
    directions.exo_keys[1, 0, 0, 0] = 0.0  # missing
    full = dense_bias(LAYOUT, directions, bias)
    assert torch.equal(bias_of_token(LAYOUT, token, directions, bias), full[token.index(LAYOUT)])


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("bias", BIASES)
def test_equals_a_row_of_dense_attention(token, batch, bias):
    q, k = random_qk(batch=batch)
    full = dense_bias(LAYOUT, random_directions(), bias)
    index = token.index(LAYOUT)
    plain, guided = attention_of_token(q, k, HEADS, index, full[index])
    torch.testing.assert_close(plain.double(), dense_map(q, k)[index], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(guided.double(), dense_map(q, k, full)[index], rtol=1e-5, atol=1e-8)
    assert (plain - guided).abs().max() > 1e-3


def test_without_a_bias_there_is_one_row():
    q, k = random_qk()
    assert attention_of_token(q, k, HEADS, 7).shape == (1, LAYOUT.n_tokens)


def test_half_precision_is_computed_in_float32():
    q, k = (x.bfloat16() for x in random_qk())
    (row,) = attention_of_token(q, k, HEADS, 7)
    assert row.dtype == torch.float32
    torch.testing.assert_close(row.double(), dense_map(q, k)[7], rtol=1e-5, atol=1e-8)


def test_blocks_are_averaged_and_views_parted():
    token, bias = TOKENS[1], BIASES[1]
    index, directions = token.index(LAYOUT), random_directions()
    full = dense_bias(LAYOUT, directions, bias)
    probe = AttentionProbe(LAYOUT, token, bias_of_token(LAYOUT, token, directions, bias))
    blocks = [random_qk(seed=seed) for seed in (1, 2, 3)]
    for q, k in blocks:
        probe.add(q, k, HEADS)
    plain, guided = probe.maps()
    for found, added in ((plain, None), (guided, full)):
        row = torch.stack([dense_map(q, k, added)[index] for q, k in blocks]).mean(dim=0)
        grid = row.view(3, 4, 9).float()
        torch.testing.assert_close(found.exo, grid[..., :5], rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(found.ego, grid[..., 5:], rtol=1e-5, atol=1e-8)
        assert found.exo_share == pytest.approx(float(grid[..., :5].sum()))
        assert found.exo.sum() + found.ego.sum() == pytest.approx(1.0)
        assert found.even == 1 / 108


def test_nothing_of_the_size_of_all_pairs_is_made():
    layout = TokenLayout(4, 8, 12, 8)  # 640 tokens, 16 numbers each
    q, k = random_qk(layout)
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel())
            return out

    bias = bias_of_token(layout, TOKENS[0], random_directions(layout), GGABias())
    with Watch():
        attention_of_token(q, k, HEADS, TOKENS[0].index(layout), bias)
    assert max(sizes) <= k.numel()  # a view of the keys


def test_mean_angle_by_hand():
    """Half the attention straight ahead, a quarter at 90 degrees, a quarter where nothing is known."""
    layout = TokenLayout(1, 1, 3, 1)
    ahead, right = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.5, 0.0, 0.0])
    keys = torch.stack([ahead, right, torch.zeros(3)]).view(1, 1, 1, 3, 3)
    directions = TokenDirections(0.9 * ahead.view(1, 1, 1, 3), keys)
    probe = AttentionProbe(layout, EgoToken(0, 0, 0))
    logits = torch.tensor([0.5, 0.25, 0.25, 1e-9]).log()
    probe.add(torch.ones(1, 4, 1), logits.view(1, 4, 1), heads=1)
    (found,) = probe.maps()
    assert found.mean_angle(EgoToken(0, 0, 0), directions) == pytest.approx(30.0, abs=0.05)


def test_mean_angle_without_directions():
    directions = random_directions()
    directions.ego_queries[2, 1, 3] = 0.0
    probe = AttentionProbe(LAYOUT, TOKENS[1])
    probe.add(*random_qk(), HEADS)
    (found,) = probe.maps()
    assert found.mean_angle(TOKENS[1], directions) is None
    assert found.mean_angle(TOKENS[2], directions) == pytest.approx(90.0, abs=30.0)


def test_an_empty_probe():
    with pytest.raises(ValueError, match="No self-attention"):
        AttentionProbe(LAYOUT, TOKENS[0]).maps()
