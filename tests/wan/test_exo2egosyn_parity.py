"""The graph's output on Wan 2.2 against a transformer and a loop that share nothing with the pack or ComfyUI."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.component_metadata import Component
from support.egosyn_graph import run_syn, with_syn, witness
from support.egosyn_witness import embedded_text, made_up_syn_clip, permuted, wan
from support.tiny_components import tiny_component
from support.tiny_wan import wan_state_dict

SYSTEMS = {
    "none": (),
    "multiexocon": (Component.MULTIEXOCON,),
    "poseinj": (Component.POSEINJ,),
    "lora": (Component.LORA,),
    "stage 1": (Component.MULTIEXOCON, Component.LORA),
    "full": (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA),
    "vawan": (Component.VAWAN,),
    "vawan with poses": (Component.VAWAN, Component.POSEINJ),
}


def parts_of(name: str, **settings):
    return [tiny_component(component, **settings) for component in SYSTEMS[name]]


def assert_near(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def clip():
    return made_up_syn_clip()


def test_the_witness_is_wan(wan22):
    weights = wan_state_dict("i2v_2.2")
    random = torch.Generator().manual_seed(0)
    x, text = torch.randn(2, 36, 3, 4, 6, generator=random), torch.randn(2, 512, 4096, generator=random)
    timestep = torch.tensor([1000.0, 433.0])
    with torch.inference_mode():
        expected = wan22.model.diffusion_model(x, timestep, text)
    assert_near(wan(weights, x, timestep, embedded_text(weights, text)), expected)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("cfg", [1.0, 3.5])
@pytest.mark.parametrize("system", SYSTEMS)
def test_graph_equals_the_plain_loop(wan22, clip, system, cfg, batch):
    parts = parts_of(system)
    got = run_syn(with_syn(wan22, clip, *parts), clip, cfg=cfg, batch=batch)
    assert_near(got, witness(clip, *parts, cfg=cfg, batch=batch))
