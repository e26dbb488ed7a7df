from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.functional import normalize

from exo2ego.attention.backends import flex
from exo2ego.attention.backends.reference import dense_attention, dense_bias
from exo2ego.attention.bias import GGABias, GGAForm
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

EAGER = ["sdpa", "reference"]


@pytest.mark.parametrize("backend", EAGER)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", BIASES)
def test_float32_equals_the_oracle(backend, batch, layout, bias):
    directions = with_missing(random_directions(layout)) if layout.rows > 2 else random_directions(layout)
    q, k, v = random_qkv(layout, batch)
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain, backend)
    expected = oracle(q, k, v, layout, directions, bias)
    assert relative_error(got, expected) < 1e-5
    if bias.strength != 1.0:
        assert relative_error(plain(q, k, v), expected) > 1e-2


@pytest.mark.parametrize("backend", EAGER)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", BIASES)
def test_half_precision_is_near_the_oracle(backend, dtype, bias):
    layout = LAYOUTS[0]
    directions = with_missing(random_directions(layout))
    q, k, v = random_qkv(layout, 2, dtype)
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain, backend)
    assert got.dtype == dtype
    assert relative_error(got, oracle(q, k, v, layout, directions, bias)) < 1e-2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", BIASES)
def test_score_mod_of_flex_equals_the_dense_bias(layout, bias):
    """Token by token, without the compiler."""
    directions = with_missing(random_directions(layout)) if layout.rows > 2 else random_directions(layout)
    expected = dense_bias(layout, directions, bias)
    is_ego = torch.arange(layout.n_tokens) % layout.columns >= layout.exo_columns
    for frame, rows in enumerate(expected[is_ego].split(layout.ego_tokens_per_frame)):
        add_bias = flex.score_mod(directions.extended(bias), frame, layout)
        query, token = torch.meshgrid(torch.arange(len(rows)), torch.arange(layout.n_tokens), indexing="ij")
        got = add_bias(torch.zeros(rows.shape), query, query, query, token)
        torch.testing.assert_close(got.exp(), rows.exp(), rtol=1e-5, atol=4e-6)


def test_compiled_flex_equals_the_oracle_and_compiles_once():
    """Under compiler.disable, as the hooks of the model call it; other clips, frames and lambdas take that kernel."""
    layout = LAYOUTS[0]
    run = torch.compiler.disable(gga_attention)
    compiled_before = counters["stats"]["unique_graphs"]
    for seed, bias in enumerate((GGABias(), GGABias(GGAForm.RELEASE, 7.0), GGABias(GGAForm.PAPER, 0.3))):
        directions = with_missing(random_directions(layout, seed))
        q, k, v = random_qkv(layout, 2, head_dim=16, seed=seed)
        with torch.compiler.set_stance("default" if seed == 0 else "fail_on_recompile"):
            got = run(AttentionCall(q, k, v, HEADS, layout, directions, bias), plain, "flex")
        assert relative_error(got, oracle(q, k, v, layout, directions, bias)) < 1e-5
    assert counters["stats"]["unique_graphs"] == compiled_before + 1


def test_exo_queries_go_through_the_plain_attention_untouched():
    layout = LAYOUTS[0]
    q, k, v = random_qkv(layout, 2)
    seen = []

    def marking(query, key, value, heads):
        seen.append((query, key, value, heads))
        return torch.full_like(query, 7.0)

    got = layout.as_grid(
        gga_attention(AttentionCall(q, k, v, HEADS, layout, random_directions(layout), GGABias()), marking)
    )
    assert (got[:, :, :, : layout.exo_columns] == 7.0).all()
    assert (got[:, :, :, layout.exo_columns :] != 7.0).all()
    ((query, key, value, heads),) = seen
    assert torch.equal(query, layout.as_grid(q)[:, :, :, : layout.exo_columns].flatten(1, 3))
    assert torch.equal(key, k)
    assert torch.equal(value, v)
    assert heads == HEADS


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
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, TokenDirections(queries, keys), GGABias()), plain)
    torch.testing.assert_close(got, dense_attention(q, k, v, HEADS, full), rtol=1e-5, atol=1e-5)


def test_without_any_direction_attention_is_plain():
    layout = LAYOUTS[0]
    directions = random_directions(layout)
    nothing = TokenDirections(torch.zeros_like(directions.ego_queries), directions.exo_keys)
    q, k, v = random_qkv(layout, 1)
    got = gga_attention(AttentionCall(q, k, v, HEADS, layout, nothing, GGABias()), plain)
    torch.testing.assert_close(got, plain(q, k, v), rtol=1e-5, atol=1e-6)


def test_chunks_of_exo_queries_and_of_masks_change_nothing(monkeypatch):
    """At EgoX's size exo queries go in 8 chunks of heads, ego queries in 22 of rows."""
    layout = LAYOUTS[-1]
    directions = random_directions(layout)
    q, k, v = random_qkv(layout, 2)
    whole = gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, GGABias()), plain, "sdpa")
    of_a_head = 2 * layout.exo_tokens * 8 * 4
    monkeypatch.setattr("exo2ego.attention.backends.sdpa.CHUNK_BYTES", 40_000)
    monkeypatch.setattr("exo2ego.attention.backends.sdpa._FACTOR_BYTES", 4_000)
    seen = []

    def counting(query, key, value, heads):
        seen.append((query.shape[1], heads, key.data_ptr(), value.data_ptr()))
        assert query.is_contiguous()
        assert query.shape[2] == key.shape[2] == value.shape[2] == heads * 8
        assert key.shape[1] == value.shape[1] == layout.n_tokens
        return plain(query, key, value, heads)

    for allowed, chunks_of_rows in ((of_a_head, 1), (of_a_head // 3, 3), (1, layout.frames * layout.rows)):
        seen.clear()
        monkeypatch.setattr("exo2ego.attention.guided_attention._EXO_BYTES", allowed)
        chunked = gga_attention(AttentionCall(q, k, v, HEADS, layout, directions, GGABias()), counting, "sdpa")
        torch.testing.assert_close(chunked, whole, rtol=1e-5, atol=1e-6)
        assert len(seen) == HEADS * chunks_of_rows
        assert sum(queries for queries, *_ in seen) == HEADS * layout.exo_tokens
        # One head after the other, and its keys and values are those of the model, not copies.
        places = [(k.data_ptr() + 8 * 4 * head, v.data_ptr() + 8 * 4 * head) for head in range(HEADS)]
        assert [part[1:] for part in seen[::chunks_of_rows]] == [(1, *place) for place in places]


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


def test_vectors_that_are_no_directions_are_refused():
    layout = LAYOUTS[0]
    directions = random_directions(layout)
    with pytest.raises(ValueError, match="of length 2"):
        TokenDirections(directions.ego_queries * 2, directions.exo_keys).check(layout)
    with_missing(directions).check(layout)


def test_empty_layouts_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        TokenLayout(3, 4, 0, 4)
