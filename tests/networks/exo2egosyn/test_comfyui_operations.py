"""The networks on ComfyUI's own operations, which cast stored weights to the input's type."""

from __future__ import annotations

import pytest
import torch

from exo2ego.networks.components.build import build_align, build_exo_channels, build_exo_tokenizer, build_pose_injection
from exo2ego.networks.components.files import read_component
from exo2ego.networks.components.metadata import Component
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig, lora_shapes
from support.comfyui import import_comfyui
from support.tiny_egosyn import tiny_component
from support.tiny_wan import DIM

RANDOM = torch.Generator().manual_seed(0)
EXO = torch.randn(1, 4, 16, 3, 4, 4, generator=RANDOM)
HIDDEN = torch.randn(1, 12, DIM, generator=RANDOM)
NETWORKS = {
    Component.ALIGN: (build_align, (torch.randn(1, 4, 22, 4, 4, generator=RANDOM),)),
    Component.MULTIEXOCON: (build_exo_tokenizer, (EXO,)),
    Component.POSEINJ: (build_pose_injection, (HIDDEN, torch.randn(1, 6, 9, 32, 32, generator=RANDOM))),
    Component.VAWAN: (build_exo_channels, (EXO,)),
}


@pytest.fixture(scope="module")
def operations():
    import_comfyui()
    import comfy.ops

    return comfy.ops.manual_cast


@pytest.mark.parametrize("component", list(NETWORKS), ids=lambda component: component.value)
def test_stored_bfloat16_works_on_float32_inputs(tmp_path, operations, component):
    build, inputs = NETWORKS[component]
    options = {"exo_pos": "learned"} if component is Component.MULTIEXOCON else {}
    loaded = read_component(tiny_component(component, **options).write(tmp_path / "tiny.safetensors"))
    module = build(loaded, operations, dtype=torch.bfloat16)
    layers = [layer for layer in module.modules() if hasattr(layer, "comfy_cast_weights")]
    assert layers
    with torch.no_grad():
        got = module(*inputs)
        expected = build(loaded, dtype=torch.bfloat16).float()(*inputs)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}, "what is stored must stay"


@pytest.mark.parametrize("component", list(NETWORKS), ids=lambda component: component.value)
def test_stored_float32_works_on_bfloat16_inputs(tmp_path, operations, component):
    build, inputs = NETWORKS[component]
    loaded = read_component(tiny_component(component).write(tmp_path / "tiny.safetensors"))
    with torch.no_grad():
        rough = build(loaded, operations)(*(value.bfloat16() for value in inputs))
        exact = build(loaded)(*inputs)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def neutral_lora() -> dict[str, torch.Tensor]:
    """A LoRA of the tiny Wan as training starts with it: A random, B zero."""
    shapes = lora_shapes(LoraConfig(DIM, 2, 4, 4.0))
    tensors = {key: torch.zeros(shape) for key, shape in shapes.items() if key.endswith("lora_B.weight")}
    tensors |= {key: torch.tensor(4.0) for key in shapes if key.endswith("alpha")}
    return tensors | {key: torch.randn(shape, generator=RANDOM) for key, shape in shapes.items() if key not in tensors}


def test_comfyuis_own_loader_takes_every_tensor_of_the_lora(operations):
    import comfy.lora

    tensors = neutral_lora()
    layers = sorted({key.split(".lora_")[0] for key in tensors if ".lora_" in key})
    # The names of comfy.lora.model_lora_keys_unet for any model.
    patches = comfy.lora.load_lora(tensors, {layer: f"{layer}.weight" for layer in layers})
    assert sorted(patches) == [f"{layer}.weight" for layer in layers]
    weight = torch.randn(DIM, DIM)
    for key, patch in patches.items():
        assert patch.loaded_keys <= set(tensors)
        changed = comfy.lora.calculate_weight([(1.0, patch, 1.0, None, None)], weight.clone(), key)
        assert torch.equal(changed, weight)
    assert set.union(*(patch.loaded_keys for patch in patches.values())) >= {key for key in tensors if "lora_" in key}
