"""The bias of real takes against figures made by the released mathematics (shared takes only)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exo2ego.attention.backends import flex
from exo2ego.attention.backends.sdpa import write_bias
from exo2ego.attention.bias import GGABias, GGAForm
from exo2ego.attention.directions import TokenDirections
from exo2ego.attention.layout import TokenLayout

LAYOUT = TokenLayout(13, 28, 49, 28)


@pytest.fixture(params=["iiith_cooking_57_2_2451_2499", "joker"])
def golden(shared_take, request):
    return np.load(shared_take(request.param) / "gga_golden.npz")


def place(token: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frame, row and column of tokens."""
    return token // (LAYOUT.rows * LAYOUT.columns), token // LAYOUT.columns % LAYOUT.rows, token % LAYOUT.columns


@pytest.mark.parametrize(("strength", "field"), [(3.0, "bias_lam3"), (1.0, "bias_lam1")])
def test_bias_of_2000_pairs(golden, strength, field):
    directions = TokenDirections(torch.from_numpy(golden["q_dir"]), torch.from_numpy(golden["k_dir"]))
    directions.check(LAYOUT)
    tokens = [torch.from_numpy(golden[name]).long() for name in ("pair_q", "pair_k")]
    expected, cosine = (torch.from_numpy(golden[name]).float() for name in (field, "pair_cos"))
    (t, row, column), (key_t, key_row, key_column) = (place(token) for token in tokens)
    guided = (column >= LAYOUT.exo_columns) & (key_column < LAYOUT.exo_columns)
    queries = directions.ego_queries[t, row, (column - LAYOUT.exo_columns).clamp(min=0)]  # [2000, 3]
    keys = directions.exo_keys[t, key_t, key_row, key_column.clamp(max=LAYOUT.exo_columns - 1)]
    bias = GGABias(GGAForm.RELEASE, strength)(queries.unsqueeze(1), keys.unsqueeze(1))[:, 0, 0]
    got = torch.where(guided, bias, 0.0)
    assert guided.sum() > 1500
    assert (got - expected)[cosine > -0.99].abs().max() < 1e-4
    assert (got - expected).abs().max() < 1e-3


def test_score_mod_of_2000_pairs(golden):
    directions = TokenDirections(torch.from_numpy(golden["q_dir"]), torch.from_numpy(golden["k_dir"]))
    query, key = (torch.from_numpy(golden[name]).long() for name in ("pair_q", "pair_k"))
    expected = torch.from_numpy(golden["bias_lam3"]).float()
    frame, row, column = place(query)
    extended = directions.extended(GGABias())
    for t in range(LAYOUT.frames):
        chosen = (frame == t) & (column >= LAYOUT.exo_columns)
        ego_token = (row * LAYOUT.ego_columns + column - LAYOUT.exo_columns)[chosen]
        add_bias = flex.score_mod(extended, t, LAYOUT)
        got = add_bias(torch.zeros(len(ego_token)), ego_token, ego_token, ego_token, key[chosen])
        assert len(got) > 50
        assert (got - expected[chosen]).abs().max() < 1e-3


def test_one_frame_of_a_real_take(golden):
    """The rows that the attention gets, for the first frame: 784 x 28,028, exo columns only."""
    directions = TokenDirections(torch.from_numpy(golden["q_dir"]), torch.from_numpy(golden["k_dir"]))
    mask = torch.zeros(LAYOUT.ego_tokens_per_frame, LAYOUT.n_tokens)
    write_bias(mask, 0, LAYOUT, directions.extended(GGABias()))
    query, key = (torch.from_numpy(golden[name]).long() for name in ("pair_q", "pair_k"))
    t, row, column = place(query)
    chosen = (t == 0) & (column >= LAYOUT.exo_columns)
    got = mask[row[chosen] * LAYOUT.ego_columns + column[chosen] - LAYOUT.exo_columns, key[chosen]]
    expected = torch.from_numpy(golden["bias_lam3"]).float()[chosen]
    assert len(got) > 50
    assert (got - expected).abs().max() < 1e-3
    assert (mask.view(-1, 13, 28, 77)[..., 49:] == 0).all()
