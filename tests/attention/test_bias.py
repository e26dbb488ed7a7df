from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from exo2ego.attention.bias import GGABias, GGAForm

BOTH_FORMS = [GGABias(GGAForm.PAPER, 1.0), GGABias(GGAForm.PAPER, 3.0), GGABias(GGAForm.RELEASE, 1.0), GGABias()]


def unit_vectors(count: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, 3, generator=random, dtype=dtype), dim=-1)


def by_hand(bias: GGABias, query: list[float], key: list[float]) -> float:
    cosine = min(1.0, max(-1.0, sum(a * b for a, b in zip(query, key))))
    if bias.form is GGAForm.PAPER:
        return math.log((cosine + 1 + 1e-6) * bias.strength)
    if bias.strength <= 1 or cosine > 0:
        cosine *= bias.strength
    return math.log(cosine + 1 + 1e-6)


@pytest.mark.parametrize("bias", [*BOTH_FORMS, GGABias(GGAForm.RELEASE, 0.4), GGABias(GGAForm.RELEASE, 0.0)])
def test_every_pair_is_the_formula(bias):
    queries, keys = unit_vectors(7, 0, torch.float64), 0.9 * unit_vectors(11, 1, torch.float64)
    got = bias(queries, keys)
    expected = [[by_hand(bias, q, k) for k in keys.tolist()] for q in queries.tolist()]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_known_values_of_both_forms():
    query = torch.tensor([[0.0, 0.0, 1.0]])
    keys = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # the same, across, opposite
    paper = GGABias(GGAForm.PAPER, 3.0)(query, keys)[0]
    release = GGABias(GGAForm.RELEASE, 3.0)(query, keys)[0]
    opposite = math.log(1e-6)
    torch.testing.assert_close(paper, torch.tensor([math.log(6), math.log(3), opposite + math.log(3)]))
    torch.testing.assert_close(release, torch.tensor([math.log(4), 0.0, opposite]), rtol=1e-6, atol=2e-6)


def test_opposite_directions_are_suppressed_as_in_the_paper():
    """Eq. 5: g(a, -a) = 0, so such a key gets no weight worth naming, whatever its logit."""
    query = unit_vectors(50, 2, torch.float64)
    for bias in BOTH_FORMS:
        weight = bias(query, -query).diagonal().exp()
        assert weight.max() < 1e-5
        assert bias(query, query).diagonal().exp().min() > 1


@pytest.mark.parametrize("bias", BOTH_FORMS)
def test_bias_is_symmetric_in_query_and_key(bias):
    a, b = unit_vectors(9, 3, torch.float64), unit_vectors(6, 4, torch.float64)
    torch.testing.assert_close(bias(a, b), bias(b, a).T, rtol=0, atol=0)


def test_bias_grows_with_the_cosine():
    angles = torch.linspace(math.pi, 0, 200, dtype=torch.float64)
    keys = torch.stack([angles.sin(), torch.zeros_like(angles), angles.cos()], dim=-1)
    for bias in BOTH_FORMS:
        values = bias(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64), keys)[0]
        assert (values.diff() > 0).all()


@pytest.mark.parametrize("bias", BOTH_FORMS)
def test_pairs_without_a_direction_have_no_bias(bias):
    queries, keys = unit_vectors(4, 5), unit_vectors(5, 6)
    queries[1] = 0.0
    keys[2] = 0.0
    keys[3, 1] = float("nan")
    keys[4, 0] = float("inf")
    got = bias(queries, keys)
    assert got.isfinite().all()
    assert (got[1] == 0).all()
    assert (got[:, 2:] == 0).all()
    assert (got[[0, 2, 3], :2] != 0).all()


def test_short_directions_count_as_they_are():
    """The released means of unit vectors are not renormalised; norms go down to 0.02 at depth edges."""
    query, key = unit_vectors(1, 7, torch.float64), 0.02 * unit_vectors(1, 8, torch.float64)
    expected = by_hand(GGABias(), query[0].tolist(), key[0].tolist())
    assert GGABias()(query, key).item() == pytest.approx(expected, abs=1e-12)
    assert expected != 0


def test_directions_longer_than_1_are_shortened():
    """Else opposite ones would have a product below -1."""
    queries, keys = unit_vectors(8, 11, torch.float64), unit_vectors(9, 12, torch.float64)
    torch.testing.assert_close(GGABias()(1.001 * queries, 1.001 * keys), GGABias()(queries, keys), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        GGABias()(0.9 * queries, 1.001 * keys), GGABias()(0.9 * queries, keys), rtol=0, atol=1e-9
    )


def test_half_precision_directions_are_computed_in_float32():
    queries, keys = unit_vectors(30, 9).bfloat16(), unit_vectors(40, 10).bfloat16()
    got = GGABias()(queries, keys)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, GGABias()(queries.double(), keys.double()).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("form", "strength"),
    [("paper", 0.0), ("paper", -1.0), ("release", -0.1), ("release", float("nan")), ("release", float("inf"))],
)
def test_impossible_strengths_are_refused(form, strength):
    with pytest.raises(ValueError, match="lambda"):
        GGABias(GGAForm(form), strength)
