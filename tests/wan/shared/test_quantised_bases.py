"""The graph on bases of few bits, against diffusers' network with the weights that the base holds."""

from __future__ import annotations

import pytest
import torch

from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import dense_pair_bias, sample
from support.quantised_bases import QUANTISED_BASES, load_base, stored
from support.tiny_wan import DIM, FFN, LAYERS, wan_state_dict
from support.wan_witnesses import diffusers_predict, diffusers_wan


@pytest.mark.parametrize("kind", QUANTISED_BASES)
def test_graph_equals_the_network_of_the_rounded_weights(clip, kind):
    """To the digit that float32 gives; the network of the weights before rounding is told apart."""
    bias = dense_pair_bias(clip, "release", 3.0)

    def expected(weights):
        predict = diffusers_predict(diffusers_wan(weights, dim=DIM, ffn=FFN, layers=LAYERS))
        return sample(predict, clip, noise_of(clip), steps=STEPS, shift=SHIFT, cfg=5.0, bias=bias)

    got = run_graph(with_gga(with_egox(load_base(kind), clip), clip), clip)
    torch.testing.assert_close(got, expected(stored(kind)), rtol=0, atol=1e-4)
    assert (got - expected(wan_state_dict())).abs().max() > 1e-2
