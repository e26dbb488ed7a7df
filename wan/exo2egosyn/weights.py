"""Exo2EgoSyn's weights on a MODEL, as ComfyUI's weight patches.

Trained cross-attention and VAWAN's patch embedding take the place of the base model's: patches of type "set", which
ComfyUI computes in float32 and then stores as the base is stored, so fp8 and GGUF bases work. They stand before every
other patch of their tensor, so that a LoRA adds to them whichever node came first. The self-attention LoRA is an
ordinary patch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import comfy.lora
import torch
from torch import Tensor

from ...networks.components.build import base_patch_embedding, cross_attention_set
from ...networks.components.metadata import Component
from ...networks.components.set import SynComponents

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_PREFIX = "diffusion_model."

# Cut off by less than this, a weight moves no further than rounding to float8 moves it.
_CUT = 1.06


def patch_weights(patched: ModelPatcher, components: SynComponents, lora_strength: float) -> tuple[Any, ...]:
    """Put the components' weights on a MODEL, in place.

    Returns:
        The values of the patches, for `remove_weights`.

    Raises:
        ValueError: if the model lacks a tensor that a component replaces or updates.
    """
    replaced: dict[str, Any] = {}
    if (part := components.get(Component.MULTIEXOCON)) is not None:
        replaced |= _set_patches(cross_attention_set(part))
    if (part := components.get(Component.VAWAN)) is not None:
        replaced |= _set_patches(base_patch_embedding(part))
    updates: dict[str, Any] = {}
    for component in (Component.LORA, Component.VAWAN):
        if (part := components.get(component)) is not None:
            keys = comfy.lora.model_lora_keys_unet(patched.model, {})
            updates |= comfy.lora.load_lora(_lora_tensors(part.state_dict), keys)
    _add(patched, replaced, 1.0)
    for key in replaced:
        entries = patched.patches[key]
        entries.insert(0, entries.pop())
    _add(patched, updates, lora_strength)
    return (*replaced.values(), *updates.values())


def range_notes(model: ModelPatcher, components: SynComponents) -> list[str]:
    """Return whether a base in scaled float8 cuts MultiExoCon's weights off, which is likely to spoil the video.

    Such a base has a scale for every layer, mostly made so that the layer's own largest weight just fits, and ComfyUI
    0.3.75 keeps it when a weight is replaced: larger trained weights end there. Reads all weights of the file, but only
    for such a base.
    """
    part = components.get(Component.MULTIEXOCON)
    cut = 0
    for name, tensor in cross_attention_set(part).items() if part is not None else ():
        path, _, kind = name.rpartition(".")
        layer = model.get_model_object(f"{_PREFIX}{path}")
        scale = getattr(layer, "scale_weight", None)
        if kind == "weight" and scale is not None:
            largest = torch.finfo(layer.weight.dtype).max * scale.abs().max().item()
            low, high = (tensor.float() if tensor.dtype.itemsize == 1 else tensor).aminmax()
            cut += max(-low.item(), high.item()) > _CUT * largest
    if not cut:
        return []
    return [
        f"{cut} tensors of {part.file} contain values outside the range of this scaled-fp8 base model; they will be "
        "clipped. Load the base model in fp16 (also with weight_dtype fp8_e4m3fn) or as a GGUF."
    ]


def remove_weights(patched: ModelPatcher, values: Iterable[Any]) -> None:
    """Take the patches with these values off a MODEL, in place; everybody else's stay in their order."""
    ours = {id(value) for value in values}
    for key, entries in list(patched.patches.items()):
        kept = [entry for entry in entries if id(entry[1]) not in ours]
        if kept:
            patched.patches[key] = kept
        else:
            del patched.patches[key]
    patched.add_patches({})  # marks the weights as changed


def _set_patches(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {f"{_PREFIX}{name}": ("set", (tensor,)) for name, tensor in tensors.items()}


def _lora_tensors(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the LoRA's tensors without the updates that are zero.

    Adding zero to a weight of a quantised base would round it anew; an untrained LoRA must change nothing.
    """
    up = ".lora_B.weight"
    layers = {key.removesuffix(up) for key, tensor in state_dict.items() if key.endswith(up) and tensor.any()}
    factors = (".lora_A.weight", up, ".alpha")
    return {f"{layer}{factor}": state_dict[f"{layer}{factor}"] for layer in layers for factor in factors}


def _add(patched: ModelPatcher, patches: dict[str, Any], strength: float) -> None:
    taken = patched.add_patches(patches, strength)
    if missing := sorted(set(patches) - set(taken)):
        raise ValueError(
            f"This model lacks {len(missing)} of {len(patches)} tensors that the components of Exo2EgoSyn replace or "
            f"update ({', '.join(missing[:3])}, ...). Load Wan 2.2 I2V A14B (low-noise) with Load Diffusion Model."
        )
