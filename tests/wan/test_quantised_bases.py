"""The graph on bases of few bits, against diffusers' network with the weights that the base holds."""

from __future__ import annotations

import pytest
import torch

from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import dense_pair_bias, sample
from support.quantised_bases import QUANTISED_BASES, load_base, stored
from support.tiny_wan import DIM, FFN, LAYERS
from support.wan_witnesses import diffusers_predict, diffusers_wan


@pytest.mark.parametrize("kind", QUANTISED_BASES)
def test_graph_equals_the_network_of_the_rounded_weights(clip, kind):
    model=load_base(kind)
    got = run_graph(with_gga(with_egox(model, clip), clip), clip)
    predict = diffusers_predict(diffusers_wan(stored(kind), dim=DIM, ffn=FFN, layers=LAYERS))
    bias = dense_pair_bias(clip, "release", 3.0)
    expected = sample(predict, clip, noise_of(clip), steps=STEPS, shift=SHIFT, cfg=5.0, bias=bias)
    print(kind, (got-expected).abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
