"""Frozen weights in fewer bits: what they are worth, what goes through them, and what of them is kept."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import linear

from exo2ego.training.memory.quantised import FLOAT8, Fp8Linear, Nf4Linear, quantise, stored_bytes
from exo2ego.training.network.health import lora_health
from exo2ego.training.network.lora import EGOX_TARGETS
from exo2ego.training.network.transformer import load_transformer
from exo2ego.training.session import build_network, open_trainer
from support.training import small_wan, tiny_recipe, write_cache

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
KINDS = [Fp8Linear, pytest.param(Nf4Linear, marks=pytest.mark.skipif(not HAS_BITSANDBYTES, reason="no bitsandbytes"))]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    layer = nn.Linear(128, 96)
    layer.weight.data[:32] *= 100  # rows of other sizes: a scale for all would lose the small ones
    return layer


def test_fp8_is_as_near_as_three_bits_can_be(layer):
    quantised = Fp8Linear.of(layer)
    largest = layer.weight.abs().amax(dim=1, keepdim=True)
    step = torch.maximum(layer.weight.abs(), largest * 2**-6 / 448) * 2**-4  # below 2^-6 the steps are all alike
    assert ((quantised.weight - layer.weight).abs() <= step * 1.001).all()
    assert quantised.stored.dtype == FLOAT8


@pytest.mark.parametrize("kind", KINDS)
def test_result_and_gradient_are_those_of_the_weight_in_full(layer, kind):
    quantised = kind.of(layer)
    x = torch.randn(2, 5, 128, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        out = quantised(x)
    expected = linear(y, quantised.weight, layer.bias.detach())
    torch.testing.assert_close(out, expected)
    seed = torch.randn_like(out)
    out.backward(seed)
    expected.backward(seed)
    torch.testing.assert_close(x.grad, y.grad)
    assert not any(value.requires_grad for value in quantised.parameters())
    # What is kept is what is stored, not a weight in full.
    assert {tensor.data_ptr() for tensor in kept} == {quantised.stored.data_ptr(), quantised.scale.data_ptr()}
    assert sum(tensor.nbytes for tensor in kept) == stored_bytes((96, 128), "fp8" if kind is Fp8Linear else "nf4")


def test_in_autocast_it_computes_in_autocast_s_type(layer):
    quantised = Fp8Linear.of(layer)
    x = torch.randn(3, 128)
    with torch.autocast("cpu", torch.bfloat16):
        out = quantised(x)
    weight = (quantised.stored.float() * quantised.scale).bfloat16()  # rounded once
    assert torch.equal(out, linear(x.bfloat16(), weight, layer.bias.detach().bfloat16()))


def test_only_linear_layers_of_blocks_are_quantised():
    network = nn.ModuleDict({"blocks": nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))])})
    network["head"] = nn.Linear(4, 4)
    quantise(network, "as precision")
    assert type(network["blocks"][0][0]) is nn.Linear
    quantise(network, "fp8")
    assert type(network["blocks"][0][0]) is Fp8Linear
    assert type(network["head"]) is nn.Linear


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed")
def test_without_bitsandbytes_it_is_said_what_to_install(tmp_path):
    recipe = tiny_recipe(tmp_path, memory={"base": "nf4"})
    with pytest.raises(ValueError, match=r'base = "nf4" is computed by bitsandbytes.*pip install bitsandbytes.*"fp8"'):
        build_network(recipe)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_trains_on_a_quantised_base(tmp_path, kind):
    write_cache(tmp_path / "cache")
    base = "fp8" if kind is Fp8Linear else "nf4"
    recipe = tiny_recipe(tmp_path, run={"gradient_checkpointing": True}, memory={"base": base})
    trainer = open_trainer(recipe, tmp_path, on_cpu=True)
    blocks = trainer._bare.transformer.blocks
    assert sum(type(module) is kind for module in blocks.modules()) == 2 * (4 + 6 + 2)
    before = {name: value.clone() for name, value in trainer._bare.named_parameters()}
    trainer.run()
    for name, value in trainer._bare.named_parameters():
        assert torch.equal(value, before[name]) != ("lora_" in name), name
    assert all(value.dtype == torch.float32 for value in trainer.parameters.values())
    health = lora_health(trainer._bare)
    assert not health.dead
    assert all(0 < share < 0.5 for share in health.shares.values())
    assert len(health.shares) == 2 * len(EGOX_TARGETS)


@pytest.mark.parametrize("spelling", ["scale_weight", "weight_scale", None])
def test_float8_files_stay_as_they_are(tmp_path, spelling):
    """ComfyUI's spellings of a scale, and float8 without one."""
    whole, file, scales = small_wan(), {}, {}
    for name, value in whole.items():
        file[name] = value
        if value.ndim == 2:
            scale = scales[name] = torch.tensor(1.0) if spelling is None else value.abs().max() / 448
            file[name] = (value / scale).to(FLOAT8)
            if spelling is not None:
                file[name.removesuffix("weight") + spelling] = scale
    if spelling == "scale_weight":
        file |= {"scaled_fp8": torch.empty(0, dtype=FLOAT8), "blocks.0.self_attn.q.scale_input": torch.tensor(1.0)}
    if spelling is None:
        bias = file["blocks.1.ffn.0.bias"] = whole["blocks.1.ffn.0.bias"].to(FLOAT8)
    path = tmp_path / "wan_fp8.safetensors"
    save_file(file, path)
    with pytest.raises(ValueError, match=r'is float8_e4m3fn.*Set \[memory\] base = "fp8" to train on it as it is'):
        load_transformer(path, torch.float32)
    network = load_transformer(path, torch.float32, stored="fp8")
    layer = network.blocks[1].attn1.to_q
    name = "blocks.1.self_attn.q"
    assert torch.equal(layer.stored.view(torch.uint8), file[f"{name}.weight"].view(torch.uint8))
    assert torch.equal(layer.weight, file[f"{name}.weight"].float() * scales[f"{name}.weight"])
    outside = network.condition_embedder.text_embedder.linear_1.weight
    assert outside.dtype == torch.float32
    torch.testing.assert_close(outside, whole["text_embedding.0.weight"], rtol=2**-4, atol=1e-3)
    if spelling is None:
        assert torch.equal(network.blocks[1].ffn.net[0].proj.bias, bias.float())
