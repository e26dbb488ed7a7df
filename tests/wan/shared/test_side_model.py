"""Networks beside the MODEL in newer versions of ComfyUI: copies for other GPUs, weights loaded as they are used."""

from __future__ import annotations

import pytest
import torch

from exo2ego.networks.components.metadata import Component
from exo2ego.wan.egox.lora import LoraForm, apply_lora, read_lora
from exo2ego.wan.exo2egosyn.apply import SYN_KEY, applied_exo2egosyn
from exo2ego.wan.shared.lora_beside import LORA_KEY
from exo2ego.wan.shared.wrappers import model_call_wrapper
from support.core_features import skip_without
from support.egosyn_graph import run_syn, with_syn
from support.egox_graph import run_graph, with_egox, with_gga
from support.tiny_components import tiny_component, tiny_vawan

FULL = (Component.MULTIEXOCON, Component.POSEINJ, Component.LORA)
OTHER = torch.device("cpu", 0)  # another device than torch.device("cpu") to ComfyUI


def split(model):
    """What core's MultiGPU CFG Split gives on two GPUs; here the second one is the CPU too."""
    skip_without(hasattr(model, "deepclone_multigpu"), "MultiGPU node")
    copy = model.deepclone_multigpu(new_load_device=OTHER)
    copy.is_multigpu_base_clone = True
    patched = model.clone()
    patched.set_additional_models("multigpu", [copy])
    patched.match_multigpu_clones()
    return patched


def beside(model, key):
    """The networks that ComfyUI loads beside a MODEL and beside its copy for another GPU."""
    (copy,) = model.get_additional_models_with_key("multigpu")
    return [patched.get_additional_models_with_key(key)[0].model for patched in (model, copy)]


def test_exo2egosyn_on_two_gpus(wan22, syn_clip):
    patched = with_syn(wan22, syn_clip, *(tiny_component(name) for name in FULL))
    expected = run_syn(patched, syn_clip)
    halves = split(patched)
    adapters = applied_exo2egosyn(halves)._adapters
    own, copy = beside(halves, SYN_KEY)
    assert own is not copy
    assert (adapters.on(torch.device("cpu")), adapters.on(OTHER)) == (own, copy)
    torch.testing.assert_close(run_syn(halves, syn_clip), expected, rtol=0, atol=1e-4)


def test_egox_on_two_gpus(model, clip, tiny_files):
    patched = apply_lora(model, read_lora(tiny_files["lora"]), 1.0, LoraForm.BESIDE)
    patched = with_gga(with_egox(patched, clip), clip)
    expected = run_graph(patched, clip)
    halves = split(patched)
    factors = model_call_wrapper(halves, LORA_KEY)._factors
    own, copy = beside(halves, LORA_KEY)
    assert own is not copy
    assert (factors.on(torch.device("cpu")), factors.on(OTHER)) == (own, copy)
    torch.testing.assert_close(run_graph(halves, clip), expected, rtol=0, atol=1e-4)


def test_poses_in_the_time_embedding_are_refused_there(wan22, syn_clip):
    halves = split(with_syn(wan22, syn_clip, tiny_vawan("time and pose")))
    with pytest.raises(ValueError, match="remove MultiGPU CFG Split"):
        run_syn(halves, syn_clip)


def test_the_networks_are_of_the_class_that_comfyui_loads_weights_with(wan22, syn_clip, monkeypatch):
    import comfy.model_patcher

    class Chosen(comfy.model_patcher.ModelPatcher):
        """What ComfyUI puts in the place of ModelPatcher when it starts on a GPU."""

    skip_without(hasattr(comfy.model_patcher, "CoreModelPatcher"), "CoreModelPatcher")
    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", Chosen)
    patched = with_syn(wan22, syn_clip, *(tiny_component(name) for name in FULL))
    (side,) = patched.get_additional_models_with_key(SYN_KEY)
    assert type(side) is Chosen
    build, arguments = side.cached_patcher_init
    again, plain = build(*arguments), build(*arguments, disable_dynamic=True)
    assert (type(again), type(plain)) == (Chosen, comfy.model_patcher.ModelPatcher)
    weights = side.model.state_dict()
    assert weights
    assert all(torch.equal(weights[name], value) for name, value in plain.model.state_dict().items())
