"""The graphs in float16 and bfloat16, as cards run them, against witnesses in float32.

Weights and every step of the network are in half precision. The error is a root mean square relative to the latent's
own standard deviation; BOUND says how large it may be, and the tests that leaving any part of a method out, or EgoX's
exo latent noisy, is an error far beyond it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.component_metadata import Component
from exo2ego.wan.lora import apply_lora, read_lora
from support import egosyn_graph
from support.egosyn_graph import run_syn, with_syn
from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga, with_override
from support.egox_witness import dense_pair_bias, sample
from support.tiny_components import tiny_component
from support.wan_witnesses import comfyui_predict

HALVES = [torch.float16, torch.bfloat16]
BOUND = {torch.float16: 0.01, torch.bfloat16: 0.05}
CFG = 5.0


def in_half(path, dtype):
    """A model with weights of a type that also computes in it; on its own ComfyUI computes in float32 on the CPU."""
    import comfy.sd

    model = comfy.sd.load_diffusion_model(str(path), model_options={"dtype": dtype})
    model.set_model_compute_dtype(dtype)
    assert {weight.dtype for weight in model.model.diffusion_model.blocks.parameters()} == {dtype}
    return model


def seen_types(seen):
    def override(function, q, k, v, heads, *args, **kwargs):
        seen.update((q.dtype, k.dtype, v.dtype))
        return function(q, k, v, heads, *args, **kwargs)

    return override


def relative_error(got, expected):
    return float((got - expected).square().mean().sqrt() / expected.std())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_egox(model, tiny_files, clip, dtype):
    lora = read_lora(tiny_files["lora"])
    seen = set()
    half = with_override(in_half(tiny_files["unet"], dtype), seen_types(seen))
    got = run_graph(
        with_gga(with_egox(apply_lora(half, lora), clip), clip, form="release", strength=3.0), clip, cfg=CFG
    )
    assert seen == {dtype}
    network = model.model.diffusion_model
    with torch.no_grad():
        for layer, update in lora.layers.items():
            network.get_submodule(layer).weight += update.up @ update.down

    def witness(of=clip, form=("release", 3.0)):
        bias = dense_pair_bias(of, *form) if form else None
        return sample(comfyui_predict(network), of, noise_of(of), steps=STEPS, shift=SHIFT, cfg=CFG, bias=bias)

    expected = witness()
    print(dtype, "error", relative_error(got, expected))
    assert relative_error(got, expected) < BOUND[dtype]
    noisy = clip.exo + clip.exo.std() * torch.randn(clip.exo.shape, generator=torch.manual_seed(8))
    others = {
        "no GGA": witness(form=None),
        "lambda 1": witness(form=("release", 1.0)),
        "paper's form": witness(form=("paper", 3.0)),
        "noisy exo latent": witness(replace(clip, exo=noisy)),
        "no prior": witness(replace(clip, prior=torch.zeros_like(clip.prior))),
        "no CLIP features": witness(replace(clip, clip_features=torch.zeros_like(clip.clip_features))),
        "no negative prompt": witness(replace(clip, negative=clip.positive)),
    }
    print({name: round(relative_error(other, expected), 3) for name, other in others.items()})
    for name, other in others.items():
        assert relative_error(other, expected) > 3 * BOUND[dtype], name


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_exo2egosyn(wrong_bases, syn_clip, dtype):
    parts = [tiny_component(part) for part in (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)]
    seen = set()
    half = with_override(in_half(wrong_bases["i2v_2.2"], dtype), seen_types(seen))
    got = run_syn(with_syn(half, syn_clip, *parts), syn_clip, cfg=CFG)
    assert seen == {dtype}

    def witness(of=syn_clip, without=None):
        kept = [part for part in parts if part.component is not without]
        return egosyn_graph.witness(of, *kept, cfg=CFG)

    expected = witness()
    print(dtype, "error", relative_error(got, expected))
    assert relative_error(got, expected) < BOUND[dtype]
    others = {part.component.value: witness(without=part.component) for part in parts}
    for name in ("exo", "plucker", "condition"):
        others[name] = witness(replace(syn_clip, **{name: torch.zeros_like(getattr(syn_clip, name))}))
    print({name: round(relative_error(other, expected), 3) for name, other in others.items()})
    for name, other in others.items():
        assert relative_error(other, expected) > 3 * BOUND[dtype], name
