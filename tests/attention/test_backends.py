from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.dispatch import gga_attention
from exo2ego.attention.layout import TokenLayout
from exo2ego.attention.reference import dense_attention, dense_bias

HEADS = 2
LAYOUTS = [TokenLayout(3, 4, 5, 4), TokenLayout(1, 2, 1, 3), TokenLayout(5, 3, 2, 1)]


def random_directions(layout: TokenLayout, seed: int = 0) -> TokenDirections:
    random = torch.Generator().manual_seed(seed)
    t, rows = layout.frames, layout.rows
    queries = torch.randn(t, rows, layout.ego_columns, 3, generator=random)
    keys = torch.randn(t, t, rows, layout.exo_columns, 3, generator=random)
    return TokenDirections(normalize(queries, dim=-1), normalize(keys, dim=-1) * 0.8)


def random_qkv(layout: TokenLayout, batch: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randn(batch, layout.n_tokens, HEADS * 8, generator=random).to(dtype) for _ in range(3)]


def plain(q, k, v):
    return dense_attention(q, k, v, HEADS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("bias", [GGABias(GGAForm.PAPER, 2.0), GGABias()])
def test_chunked_attention_equals_dense_attention(layout, batch, bias):
    directions = random_directions(layout)
    q, k, v = random_qkv(layout, batch)
    got = gga_attention(q, k, v, HEADS, layout, directions, bias, plain)
    expected = dense_attention(q, k, v, HEADS, dense_bias(layout, directions, bias))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert (got - plain(q, k, v)).abs().max() > 1e-2


def test_bfloat16_stays_bfloat16_and_near():
    layout = LAYOUTS[0]
    directions, bias = random_directions(layout), GGABias()
    q, k, v = random_qkv(layout, 1, torch.bfloat16)
    got = gga_attention(q, k, v, HEADS, layout, directions, bias, plain)
    expected = dense_attention(*(x.float() for x in (q, k, v)), HEADS, dense_bias(layout, directions, bias))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, rtol=2e-2, atol=2e-2)


def test_exo_queries_go_through_the_plain_attention_untouched():
    layout = LAYOUTS[0]
    q, k, v = random_qkv(layout, 2)
    seen = []

    def marking(query, key, value):
        seen.append((query, key, value))
        return torch.full_like(query, 7.0)

    got = layout.as_grid(gga_attention(q, k, v, HEADS, layout, random_directions(layout), GGABias(), marking))
    assert (got[:, :, :, : layout.exo_columns] == 7.0).all()
    assert (got[:, :, :, layout.exo_columns :] != 7.0).all()
    (query, key, value) = seen[0]
    assert query.shape == (2, layout.exo_tokens, HEADS * 8)
    assert key is k
    assert value is v


def test_dense_bias_touches_only_ego_queries_and_exo_keys():
    layout = LAYOUTS[0]
    full = dense_bias(layout, random_directions(layout), GGABias())
    is_exo = torch.arange(layout.n_tokens) % layout.columns < layout.exo_columns
    assert (full[is_exo] == 0).all()
    assert (full[~is_exo][:, ~is_exo] == 0).all()
    assert (full[~is_exo][:, is_exo] != 0).all()


def test_dense_bias_of_one_pair():
    """Token order, by hand: query (frame 2, row 1, ego column 3), key (frame 1, row 3, exo column 2)."""
    layout = TokenLayout(3, 4, 5, 4)
    directions = random_directions(layout)
    full = dense_bias(layout, directions, GGABias())
    query, key = 2 * 36 + 1 * 9 + 5 + 3, 1 * 36 + 3 * 9 + 2
    pair = GGABias()(directions.ego_queries[2, 1, 3][None], directions.exo_keys[2, 1, 3, 2][None])
    assert full[query, key] == pair[0, 0]


def test_the_same_key_differs_with_the_frame_of_the_query():
    """Paper, Fig. 4: a key's direction is seen from the ego camera of the query's frame."""
    layout = TokenLayout(2, 2, 2, 2)
    queries = normalize(torch.tensor([0.2, 0.1, 1.0]), dim=0).expand(2, 2, 2, 3)
    point, centers = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    seen_from = normalize(point - centers, dim=-1)  # ahead in frame 0, behind in frame 1
    keys = seen_from[:, None, None, None].expand(2, 2, 2, 2, 3)
    full = dense_bias(layout, TokenDirections(queries, keys), GGABias())
    ahead, behind = full[2, 0], full[8 + 2, 0]
    assert ahead > 1
    assert behind < -3
    q, k, v = random_qkv(layout, 1)
    got = gga_attention(q, k, v, HEADS, layout, TokenDirections(queries, keys), GGABias(), plain)
    torch.testing.assert_close(got, dense_attention(q, k, v, HEADS, full), rtol=1e-5, atol=1e-5)


def test_without_any_direction_attention_is_plain():
    layout = LAYOUTS[0]
    directions = random_directions(layout)
    nothing = TokenDirections(torch.zeros_like(directions.ego_queries), directions.exo_keys)
    q, k, v = random_qkv(layout, 1)
    got = gga_attention(q, k, v, HEADS, layout, nothing, GGABias(), plain)
    torch.testing.assert_close(got, plain(q, k, v), rtol=1e-5, atol=1e-6)


def test_a_window_of_frames_keeps_query_and_key_frames():
    layout = TokenLayout(5, 3, 2, 2)
    directions = random_directions(layout)
    window = directions.frames([1, 4])
    window.check(TokenLayout(2, 3, 2, 2))
    assert torch.equal(window.ego_queries[1], directions.ego_queries[4])
    assert torch.equal(window.exo_keys[1, 0], directions.exo_keys[4, 1])


def test_directions_of_another_size_are_refused():
    directions = random_directions(TokenLayout(3, 4, 5, 4))
    with pytest.raises(ValueError, match=r"expected ego queries \(3, 4, 6, 3\)"):
        directions.check(TokenLayout(3, 4, 5, 6))


def test_empty_layouts_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        TokenLayout(3, 4, 0, 4)
