"""A small network beside the MODEL: loaded, offloaded and counted by ComfyUI along with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import comfy.model_patcher
from torch import nn

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


def side_model(network: nn.Module, model: ModelPatcher) -> ModelPatcher:
    """Return a network as a model of its own, which goes where `model` goes; for `set_additional_models`.

    Its layers must be ComfyUI's (`comfy.ops.manual_cast`), which bring weights to the input's device and type.
    """
    # Newer versions of ComfyUI load weights as they are used, and unload other models for the sake of a plain
    # ModelPatcher.
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return patcher(network, load_device=model.load_device, offload_device=model.offload_device)
