"""The graphs in float16 and bfloat16, as cards run them, against witnesses in float32.

Weights and every step of the network are in half precision. An error is a root mean square relative to the latent's own
standard deviation. A bound holds for the graph, and the tests show that it says something: leaving out any part of a
method is an error of more than twice the bound. CFG 5 multiplies the error of the halves, not the effect of a part.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from exo2ego.wan.egox.lora import apply_lora, read_lora
from support import egosyn_graph
from support.egosyn_graph import run_syn, with_syn
from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga, with_override
from support.egox_witness import dense_pair_bias, made_up_clip, sample
from support.tiny_components import tiny_component
from support.tiny_wan import wan_state_dict
from support.wan_witnesses import comfyui_predict

HALVES = [torch.float16, torch.bfloat16]
EGOX_BOUND = {torch.float16: 0.0015, torch.bfloat16: 0.01}
GUIDED_BOUND = {torch.float16: 0.01, torch.bfloat16: 0.05}
SYN_BOUND = {torch.float16: 0.005, torch.bfloat16: 0.03}
CFG = 5.0
# Of the output of self-attention in the tiny model: what a trained one gives it, GGA and the exo view need.
ATTENTION = 3.0


def in_half(weights, dtype):
    """A model with weights of a type that also computes in it; on its own ComfyUI computes in float32 on the CPU."""
    import comfy.sd

    model = comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options={"dtype": dtype})
    model.set_model_compute_dtype(dtype)
    assert {weight.dtype for weight in model.model.diffusion_model.blocks.parameters()} == {dtype}
    return model


def seen_types(seen):
    def override(function, q, k, v, heads, *args, **kwargs):
        seen.update((q.dtype, k.dtype, v.dtype))
        return function(q, k, v, heads, *args, **kwargs)

    return override


def relative_error(got, expected):
    """Root mean square of the difference over the standard deviation of what is expected."""
    return float((got - expected).square().mean().sqrt() / expected.std())


def assert_far(others, expected, bound):
    for name, other in others.items():
        assert relative_error(other, expected) > 2 * bound, name


@pytest.fixture(scope="module")
def small_clip():
    """Few tokens, so that attention does not average all differences away."""
    return made_up_clip(seed=1, frames=2, height=4, exo_width=4, ego_width=4)


@pytest.mark.parametrize("cfg", [1.0, CFG])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_egox(tiny_files, small_clip, dtype, cfg):
    import comfy.sd

    clip = small_clip
    weights = {
        name: value * ATTENTION if name.endswith("self_attn.o.weight") else value
        for name, value in wan_state_dict().items()
    }
    lora = read_lora(tiny_files["lora"])
    seen = set()
    half = with_override(apply_lora(in_half(weights, dtype), lora), seen_types(seen))
    got = run_graph(with_gga(with_egox(half, clip), clip, form="release", strength=3.0), clip, cfg=cfg)
    assert seen == {dtype}
    for layer, update in lora.layers.items():
        weights[f"{layer}.weight"] = weights[f"{layer}.weight"] + update.up.float() @ update.down.float()
    network = comfy.sd.load_diffusion_model_state_dict(dict(weights)).model.diffusion_model

    def witness(of=clip, form=("release", 3.0)):
        bias = dense_pair_bias(of, *form) if form else None
        return sample(comfyui_predict(network), of, noise_of(of), steps=STEPS, shift=SHIFT, cfg=cfg, bias=bias)

    expected = witness()
    bound = (EGOX_BOUND if cfg == 1.0 else GUIDED_BOUND)[dtype]
    assert relative_error(got, expected) < bound
    others = {
        "no prior": witness(replace(clip, prior=torch.zeros_like(clip.prior))),
        "no CLIP features": witness(replace(clip, clip_features=torch.zeros_like(clip.clip_features))),
    }
    if cfg == 1.0:
        noisy = clip.exo + clip.exo.std() * torch.randn(clip.exo.shape, generator=torch.manual_seed(8))
        others["noisy exo latent"] = witness(replace(clip, exo=noisy))
        others |= {str(form): witness(form=form) for form in (None, ("release", 1.0), ("paper", 3.0))}
    else:
        others["no negative prompt"] = witness(replace(clip, negative=clip.positive))
    assert_far(others, expected, bound)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_exo2egosyn(syn_clip, dtype):
    parts = [tiny_component(part) for part in (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)]
    seen = set()
    half = with_override(in_half(wan_state_dict("i2v_2.2"), dtype), seen_types(seen))
    got = run_syn(with_syn(half, syn_clip, *parts), syn_clip, cfg=CFG)
    assert seen == {dtype}

    def witness(of=syn_clip, without=None):
        kept = [part for part in parts if part.component is not without]
        return egosyn_graph.witness(of, *kept, cfg=CFG)

    expected = witness()
    assert relative_error(got, expected) < SYN_BOUND[dtype]
    others = {part.component.value: witness(without=part.component) for part in parts}
    for name in ("exo", "plucker", "condition"):
        others[name] = witness(replace(syn_clip, **{name: torch.zeros_like(getattr(syn_clip, name))}))
    assert_far(others, expected, SYN_BOUND[dtype])
