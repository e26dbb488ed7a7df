"""EgoX's LoRA beside the weights: what a layer then gives, and what else goes on a MODEL."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exo2ego.wan.egox.lora import LoraForm, LowRankUpdate, WanLora, apply_lora, placement, read_lora
from support.egox_graph import SHIFT, STEPS, noise_of, run_graph, with_egox, with_gga
from support.egox_witness import dense_pair_bias, sample
from support.lora_names import in_comfyui_names
from support.quantised_bases import FLOAT_BASES, QUANTISED_BASES, load_base, stored
from support.tiny_wan import DIM, FFN, LAYERS, egox_lora_state_dict, wan_state_dict
from support.wan_witnesses import diffusers_predict, diffusers_wan

ATTENTIONS = ("self_attn", "cross_attn")
CHANGE = 0.03  # |dW| / |W|, about what EgoX's LoRA changes
BESIDE, MERGE = LoraForm.BESIDE, LoraForm.MERGE


@pytest.fixture(scope="module")
def lora(tiny_files):
    return read_lora(tiny_files["lora"])


def with_update(weights, lora, strength=1.0):
    """The weights with the LoRA added, by hand and in float32."""
    changed = dict(weights)
    for layer, update in lora.layers.items():
        scale = strength * (1.0 if update.alpha is None else update.alpha / update.rank)
        name = f"{layer}.weight"
        changed[name] = weights[name] + scale * (update.up.float() @ update.down.float())
    return changed


def network_of(weights):
    return diffusers_predict(diffusers_wan(weights, dim=DIM, ffn=FFN, layers=LAYERS))


def weights_of(model):
    """Copies of all that the network holds, as bytes."""
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def forwards_of(model):
    """The layers with a `forward` of their own."""
    return [name for name, module in model.model.named_modules() if "forward" in vars(module)]


# What a layer gives -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_lora(lora):
    """A Gaussian LoRA that changes every layer's weights by 3 %."""
    weights, random = wan_state_dict(), torch.Generator().manual_seed(3)
    layers = {}
    for layer in lora.layers:
        weight = weights[f"{layer}.weight"]
        down = torch.randn(32, DIM, generator=random).bfloat16()
        up = torch.randn(DIM, 32, generator=random)
        size = (up @ down.float()).norm()
        layers[layer] = LowRankUpdate(down, (up * CHANGE * weight.norm() / size).bfloat16(), None)
    return WanLora("small.safetensors", layers)


def layer_errors(patched, weights, clip):
    """Relative errors of the outputs of all layers with a LoRA in one model call, root mean square of all layers.

    The truth is the layer's own input times `weights`, in double precision.
    """
    errors = []

    def watch(layer):
        weight, bias = (weights[f"{layer}.{part}"].double() for part in ("weight", "bias"))

        def measure(module, inputs, output):
            truth = inputs[0].double() @ weight.T
            errors.append(((output.double() - bias - truth).norm() / truth.norm()).item())

        return patched.model.diffusion_model.get_submodule(layer).register_forward_hook(measure)

    layers = [f"blocks.{i}.{attention}.{q}" for i in range(LAYERS) for attention in ATTENTIONS for q in "qkvo"]
    handles = [watch(layer) for layer in layers]
    try:
        run_graph(with_egox(patched, clip), clip, steps=1, cfg=1.0)
    finally:
        for handle in handles:
            handle.remove()
    assert len(errors) == len(layers)
    return (sum(error**2 for error in errors) / len(errors)) ** 0.5


@pytest.fixture(scope="module")
def without_biases():
    """Biases of zero, as those of float8 bases are rounded too and are no concern here."""
    return {name: value * (not name.endswith("bias")) for name, value in wan_state_dict().items()}


@pytest.mark.parametrize("kind", ["fp8_scaled", "fp8_quantised"])
def test_error_of_a_layer_on_scaled_float8(clip, small_lora, without_biases, kind):
    """2.6 % of float8 alone, 4.1 % merged, 2.6 % beside; a LoRA at half strength is told from a whole one."""
    weights, wanted = without_biases, with_update(without_biases, small_lora)

    def error(form, strength=1.0):
        return layer_errors(apply_lora(load_base(kind, weights), small_lora, strength, form), wanted, clip)

    alone = layer_errors(load_base(kind, weights), weights, clip)
    assert 0.024 < alone < 0.028
    assert 0.038 < error(MERGE) < 0.045
    assert error(BESIDE) < 1.03 * alone
    assert error(BESIDE, 0.5) > 1.1 * alone
    assert error(BESIDE, 0.0) > 1.3 * alone


@pytest.mark.parametrize("kind", ["fp32", *QUANTISED_BASES])
@pytest.mark.parametrize("strength", [1.0, -0.4])
def test_graph_equals_a_network_of_the_stored_weights_and_the_whole_update(clip, lora, kind, strength):
    """Whatever the base is stored in, the update is added to that and not rounded to it."""
    alphas = {layer: replace(update, alpha=6.0) for layer, update in lora.layers.items()}
    lora = replace(lora, layers=alphas)
    patched = apply_lora(load_base(kind), lora, strength, BESIDE)
    got = run_graph(with_gga(with_egox(patched, clip), clip), clip, batch=2)
    held = wan_state_dict() if kind == "fp32" else stored(kind)
    bias = dense_pair_bias(clip, "release", 3.0)

    def expected(strength):
        predict = network_of(with_update(held, lora, strength))
        return sample(predict, clip, noise_of(clip, 2), steps=STEPS, shift=SHIFT, cfg=5.0, bias=bias)

    torch.testing.assert_close(got, expected(strength), rtol=1e-5, atol=1e-4)
    assert (got - expected(strength / 2)).abs().max() > 0.05


# Which way it goes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*FLOAT_BASES, *QUANTISED_BASES])
def test_auto_goes_beside_quantised_weights_alone(lora, kind):
    found = placement(load_base(kind), lora)
    names = {
        "fp8": "fp8_e4m3fn",
        "fp8_scaled": "scaled fp8_e4m3fn",
        "fp8_quantised": "scaled fp8_e4m3fn",
        "int8": "scaled int8",
        "gguf": "GGUF Q8_0",
    }
    assert found.quantised == names.get(kind)
    assert found.form is (BESIDE if kind in QUANTISED_BASES else MERGE)
    patched = apply_lora(load_base(kind), lora)
    assert bool(patched.patches) == (kind in FLOAT_BASES)
    assert bool(patched.additional_models) == (kind in QUANTISED_BASES)


@pytest.mark.parametrize("kind", ["fp32", "fp8_scaled"])
@pytest.mark.parametrize("form", [MERGE, BESIDE])
def test_a_form_that_is_asked_for_is_taken(lora, kind, form):
    assert placement(load_base(kind), lora, form).form is form
    assert bool(apply_lora(load_base(kind), lora, form=form).patches) == (form is MERGE)


# Beside the other things that go on a MODEL -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fp8_scaled", "gguf"])
def test_on_off_on(clip, lora, kind):
    """A clone without the LoRA stays without it, and nothing of the base changes, not even for a while."""
    model = load_base(kind)
    held = weights_of(model)
    off = run_graph(with_egox(model, clip), clip)
    patched = with_egox(apply_lora(model, lora), clip)
    on = run_graph(patched, clip)
    assert not forwards_of(model)
    assert not model.backup
    assert torch.equal(run_graph(with_egox(model, clip), clip), off)
    assert torch.equal(run_graph(patched, clip), on)
    assert torch.equal(run_graph(patched.clone(), clip), on)
    assert torch.equal(run_graph(with_egox(apply_lora(model, lora, 0.0), clip), clip), off)
    assert (on - off).abs().max() > 0.05
    assert all(torch.equal(value, held[name]) for name, value in weights_of(model).items())


def test_a_cancelled_run_leaves_nothing_behind(clip, lora):
    import comfy.model_management

    model = load_base("fp8_scaled")
    off = run_graph(with_egox(model, clip), clip)
    patched = with_egox(apply_lora(model, lora), clip)
    seen = []

    def cancel(module, inputs):
        seen.append(len(forwards_of(model)))
        raise comfy.model_management.InterruptProcessingException

    handle = model.model.diffusion_model.blocks[1].cross_attn.v.register_forward_pre_hook(cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_graph(patched, clip)
    handle.remove()
    assert seen == [len(lora.layers)]
    assert not forwards_of(model)
    assert torch.equal(run_graph(with_egox(model, clip), clip), off)


def stock_lora(model, seed):
    """ComfyUI's own LoRA loader, with a LoRA in names that it knows."""
    import comfy.sd

    renamed = {in_comfyui_names(key): 0.5 * value for key, value in egox_lora_state_dict(seed=seed).items()}
    patched, _ = comfy.sd.load_lora_for_models(model, None, renamed, 1.0, 0)
    return patched


@pytest.mark.parametrize("stock_first", [True, False])
def test_other_loras_before_and_after(model, clip, lora, stock_first):
    if stock_first:
        both = apply_lora(stock_lora(model, 8), lora, form=BESIDE)
    else:
        both = stock_lora(apply_lora(model, lora, form=BESIDE), 8)
    merged = apply_lora(stock_lora(model, 8), lora, form=MERGE)
    expected = run_graph(with_egox(merged, clip), clip)
    torch.testing.assert_close(run_graph(with_egox(both, clip), clip), expected, rtol=0, atol=1e-4)
    one = run_graph(with_egox(stock_lora(model, 8), clip), clip)
    assert (expected - one).abs().max() > 0.05


def test_two_of_them_add_up(model, clip, lora):
    twice = apply_lora(apply_lora(model, lora, 0.7, BESIDE), lora, 0.3, BESIDE)
    once = apply_lora(model, lora, 1.0, BESIDE)
    got, expected = (run_graph(with_egox(patched, clip), clip) for patched in (twice, once))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    assert not forwards_of(model)


def test_a_forward_that_another_pack_gave_a_layer_stays(model, clip, lora):
    """In force, and there again after the call."""
    layer = model.model.diffusion_model.blocks[0].self_attn.v
    own = layer.forward

    def halved(x):
        return 0.5 * own(x)

    expected = model.clone()
    expected.add_object_patch("diffusion_model.blocks.0.self_attn.v.forward", halved)
    plain = run_graph(with_egox(expected, clip), clip)
    patched = apply_lora(expected, lora, 1e-6, BESIDE)
    assert torch.equal(run_graph(with_egox(expected, clip), clip), plain)
    got = run_graph(with_egox(patched, clip), clip)
    torch.testing.assert_close(got, plain, rtol=0, atol=1e-3)
    assert vars(layer)["forward"] is halved
    assert (plain - run_graph(with_egox(model, clip), clip)).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["fp8_scaled", "gguf"])
def test_layers_that_stay_offloaded(clip, lora, kind, monkeypatch):
    """ComfyUI leaves base and factors where they are and brings them for every use."""
    from comfy.model_patcher import ModelPatcher

    patched = with_egox(apply_lora(load_base(kind), lora), clip)
    expected = run_graph(patched, clip)
    partially_load = ModelPatcher.partially_load
    loaded = []

    def no_room(self, device, extra_memory=0, **kwargs):
        result = partially_load(self, device, 0.1, **kwargs)
        loaded.append((type(self.model).__name__, self.loaded_size(), self.model.model_lowvram))
        return result

    monkeypatch.setattr(ModelPatcher, "partially_load", no_room)
    fresh = with_egox(apply_lora(load_base(kind), lora), clip)
    got = run_graph(fresh, clip)
    assert {name for name, _, _ in loaded} >= {"WAN21", "LoraFactors"}
    assert all(lowvram for _, _, lowvram in loaded)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_comfyui_loads_and_counts_the_factors(clip, lora):
    import comfy.model_management

    patched = with_egox(apply_lora(load_base("fp8_scaled"), lora), clip)
    (side,) = patched.get_nested_additional_models()
    rank, dim = 4, DIM
    assert side.model_size() == len(lora.layers) * 2 * rank * dim * 2  # two factors of bf16
    assert side.load_device == patched.load_device
    run_graph(patched, clip)
    assert any(loaded.is_clone(side) for loaded in comfy.model_management.loaded_models())


def test_torch_compile_on_off_on(model, clip, lora):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def compiled(patched):
        clone = patched.clone()
        set_torch_compile_wrapper(clone, backend="eager", keys=["diffusion_model.blocks.1"])
        return clone

    def output(patched):
        return run_graph(patched, clip, cfg=1.0, steps=1)

    off, on = with_egox(model, clip), with_egox(apply_lora(model, lora, form=BESIDE), clip)
    expected = [output(patched) for patched in (on, off, on)]
    torch._dynamo.reset()
    compiled_on, compiled_off = compiled(on), compiled(off)
    for patched, wanted in zip((compiled_on, compiled_off, compiled_on), expected):
        torch.testing.assert_close(output(patched), wanted, rtol=0, atol=1e-5)
