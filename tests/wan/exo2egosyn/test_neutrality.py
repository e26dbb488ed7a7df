"""What is absent or untrained changes nothing, bit by bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from exo2ego.wan.exo2egosyn.weights import range_notes
from support.egosyn_graph import components, run_syn, with_syn
from support.tiny_components import VAWAN_POSES, tiny_component, tiny_vawan
from support.tiny_wan import wan_state_dict

NEUTRAL = {
    "nothing": (),
    "align": (Component.ALIGN,),
    "poseinj": (Component.POSEINJ,),
    "lora": (Component.LORA,),
    "vawan": (Component.VAWAN,),
    "poseinj and lora": (Component.POSEINJ, Component.LORA),
}
FLOAT8 = torch.float8_e4m3fn


def untrained(names):
    return [tiny_component(component, trained=False) for component in names]


def scaled_float8(state_dict):
    """The weights as `fp8_scaled` files hold them: linear layers of the blocks in float8, each with a scale."""
    scaled = {"scaled_fp8": torch.empty(0, dtype=FLOAT8)}
    for name, value in state_dict.items():
        if name.startswith("blocks.") and name.endswith(".weight") and value.ndim == 2:
            scale = value.abs().max() / torch.finfo(FLOAT8).max
            scaled[name] = (value / scale).to(FLOAT8)
            scaled[name.removesuffix("weight") + "scale_weight"] = scale
        else:
            scaled[name] = value
    return scaled


@torch.inference_mode()  # as a loader node runs
def load(base: str):
    import comfy.sd

    weights = wan_state_dict("i2v_2.2")
    if base == "fp8_scaled":
        return comfy.sd.load_diffusion_model_state_dict(scaled_float8(weights))
    options = {} if base == "fp32" else {"dtype": {"bf16": torch.bfloat16, "fp8": FLOAT8}[base]}
    return comfy.sd.load_diffusion_model_state_dict(weights, model_options=options)


def held(layer) -> torch.Tensor:
    """The weight that a layer computes with, in float32."""
    if hasattr(layer.weight, "_qdata"):  # newer versions of ComfyUI keep the scale within the weight
        return layer.weight.dequantize().float()
    return layer.weight.float() * getattr(layer, "scale_weight", 1.0)


@pytest.mark.parametrize("names", NEUTRAL.values(), ids=NEUTRAL.keys())
def test_untrained_parts_leave_wan_as_it_is(wan22, syn_clip, names):
    expected = run_syn(wan22, syn_clip)
    assert torch.equal(run_syn(with_syn(wan22, syn_clip, *untrained(names)), syn_clip), expected)


@pytest.mark.parametrize("base", ["bf16", "fp8", "fp8_scaled"])
@pytest.mark.parametrize("name", ["poseinj and lora", "vawan"])
def test_on_a_base_of_few_bits_too(syn_clip, base, name):
    """Adding nothing to a quantised weight, or storing it again, must not round it anew."""
    model = load(base)
    expected = run_syn(model, syn_clip)
    assert torch.equal(run_syn(with_syn(model, syn_clip, *untrained(NEUTRAL[name])), syn_clip), expected)


@pytest.mark.parametrize("base", ["fp32", "bf16"])
@pytest.mark.parametrize("poses", VAWAN_POSES)
def test_untrained_poses_of_vawan_too(syn_clip, base, poses):
    model = load(base)
    expected = run_syn(model, syn_clip)
    assert torch.equal(run_syn(with_syn(model, syn_clip, tiny_vawan(poses, trained=False)), syn_clip), expected)


@pytest.mark.parametrize("base", ["bf16", "fp8_scaled"])
@pytest.mark.parametrize("poses", ["ac3d", "time and pose"])
def test_trained_poses_on_a_base_of_few_bits(syn_clip, base, poses):
    """They run in the model's type: near what float32 gives with the same poses, far from what no poses give."""
    model = load(base)
    got = run_syn(with_syn(model, syn_clip, tiny_vawan(poses)), syn_clip, cfg=1.0)
    untrained = tiny_vawan(poses).state_dict | {
        key: torch.zeros_like(value)
        for key, value in tiny_vawan(poses).state_dict.items()
        if ".up." in key or "proj_out." in key
    }
    without = run_syn(with_syn(model, syn_clip, replace(tiny_vawan(poses), state_dict=untrained)), syn_clip, cfg=1.0)
    exact = run_syn(with_syn(load("fp32"), syn_clip, tiny_vawan(poses)), syn_clip, cfg=1.0)
    assert (got - exact).abs().mean() < 0.5 * (without - exact).abs().mean()


def test_trained_parts_do_not(wan22, syn_clip):
    """The comparison above would notice."""
    expected = run_syn(wan22, syn_clip)
    for names in NEUTRAL.values():
        parts = [tiny_component(component) for component in names if component is not Component.ALIGN]
        if parts:
            assert (run_syn(with_syn(wan22, syn_clip, *parts), syn_clip) - expected).abs().max() > 0.05


@pytest.mark.parametrize("base", ["bf16", "fp8", "fp8_scaled"])
def test_trained_weights_on_a_base_of_few_bits(syn_clip, base):
    """Replaced weights are those of the file, rounded as the base is stored."""
    model = load(base)
    parts = [tiny_component(component) for component in (Component.MULTIEXOCON, Component.LORA)]
    patched = with_syn(model, syn_clip, *parts)
    got = run_syn(patched, syn_clip)
    assert got.isfinite().all()
    layer = model.model.diffusion_model.blocks[1].cross_attn.k
    trained = parts[0].state_dict["blocks.1.cross_attn.k.weight"]
    bound = trained.abs().max() * {"bf16": 2**-8, "fp8": 2**-3, "fp8_scaled": 2**-3}[base]
    assert (held(layer) - trained).abs().max() < bound
    run_syn(model, syn_clip)
    assert (held(layer) - trained).abs().max() > 2 * bound


@pytest.mark.parametrize("base", ["bf16", "fp8", "fp8_scaled"])
def test_weights_beyond_the_range_of_a_scaled_base_are_noted(syn_clip, base):
    """Where a layer keeps the base's own scale, the largest weights are cut off: never unnoticed."""
    model = load(base)
    layer = model.model.diffusion_model.blocks[1].cross_attn.v
    small, name = tiny_component(Component.MULTIEXOCON), "blocks.1.cross_attn.v.weight"
    small.state_dict.update({key: 0.5 * value for key, value in small.state_dict.items() if ".cross_attn." in key})
    large = replace(small, state_dict={**small.state_dict, name: 6 * small.state_dict[name]})
    keeps_scale = hasattr(layer, "scale_weight")  # newer versions of ComfyUI compute a new one
    for part, cut in ((small, False), (large, keeps_scale)):
        notes = range_notes(model, components(part))
        assert len(notes) == cut
        assert not cut or notes[0].startswith("1 tensors of tiny_multiexocon.safetensors contain values outside")
        run_syn(with_syn(model, syn_clip, part), syn_clip)
        largest = part.state_dict[name].abs().max()
        assert (held(layer).abs().max() < 0.8 * largest) == cut


def test_trained_weights_on_weights_that_are_unpacked_when_used(wan22, syn_clip):
    """GGUF bases compute every weight from its patches at each use."""
    import comfy.lora

    multiexocon, lora = (tiny_component(component) for component in (Component.MULTIEXOCON, Component.LORA))
    patched = with_syn(wan22, syn_clip, multiexocon, lora)

    def used(name):
        key = f"diffusion_model.{name}"
        weight = wan22.model.state_dict()[key].clone()
        return comfy.lora.calculate_weight(patched.patches[key], weight, key)

    name = "blocks.0.cross_attn.v.weight"
    assert torch.equal(used(name), multiexocon.state_dict[name])
    update = "diffusion_model.blocks.0.self_attn.v"
    up, down = (lora.state_dict[f"{update}.lora_{factor}.weight"] for factor in "BA")
    name = "blocks.0.self_attn.v.weight"
    expected = wan_state_dict("i2v_2.2")[name] + 2.0 * up @ down  # alpha 8, rank 4
    torch.testing.assert_close(used(name), expected)


@pytest.mark.parametrize("base", ["fp32", "fp8_scaled"])
@torch.inference_mode()
def test_layers_that_stay_offloaded(syn_clip, base):
    """ComfyUI leaves their weights alone and computes the patched ones at every use."""
    model = load(base)
    network, cpu = model.model.diffusion_model, torch.device("cpu")
    parts = [tiny_component(component) for component in (Component.MULTIEXOCON, Component.LORA)]
    patched = with_syn(model, syn_clip, *parts)
    x, context = torch.randn(1, 18, 256), torch.randn(1, 72, 256)
    attention = network.blocks[1].cross_attn

    def output():
        return attention(x, context)

    before = output()
    patched.patch_model(cpu)
    loaded = output()
    patched.unpatch_model(cpu)
    patched.patch_model(cpu, lowvram_model_memory=1)
    assert patched.model.model_lowvram
    assert attention.k.weight_function
    offloaded = output()
    patched.unpatch_model(cpu)
    torch.testing.assert_close(offloaded, loaded, rtol=0, atol=1e-5 if base == "fp32" else 0.2)
    assert (loaded - before).abs().max() > 0.5
    assert torch.equal(output(), before)
