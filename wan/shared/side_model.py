"""A small network beside the MODEL: loaded, offloaded and counted by ComfyUI along with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

import comfy.model_patcher
import torch
from comfy.patcher_extension import CallbacksMP
from torch import nn

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

Network = TypeVar("Network", bound=nn.Module)

# Called for every copy of a model that core's MultiGPU node makes; older versions of ComfyUI have no such node.
_ON_COPY = getattr(CallbacksMP, "ON_DEEPCLONE_MULTIGPU", None)


class SideNetwork(Generic[Network]):
    """A network that wrappers of the MODEL run, and its copies on other GPUs.

    Its layers must be ComfyUI's (`comfy.ops.manual_cast`), which bring weights to the input's device and type.

    Args:
        build: makes the network, with its weights.

    Attributes:
        own: the network on the MODEL's own device.
    """

    def __init__(self, build: Callable[[], Network]) -> None:
        self.own = build()
        self._build = build
        # Weakly: a copy belongs to the MODEL that was made for its GPU.
        self._copies: WeakValueDictionary[torch.device, Network] = WeakValueDictionary()

    @torch.compiler.disable
    def on(self, device: torch.device) -> Network:
        """Return the network for a model call on a device."""
        return self._copies.get(device, self.own)

    def patcher(self, model: ModelPatcher) -> ModelPatcher:
        """Return the network as a model of its own, which goes where `model` goes; for `set_additional_models`."""
        devices = {"load_device": model.load_device, "offload_device": model.offload_device}
        patcher = _patcher_class()(self.own, **devices)
        # How newer versions of ComfyUI make copies for other GPUs, and one whose weights are loaded at once.
        patcher.cached_patcher_init = (_rebuilt, (self._build, *devices.values()))
        if _ON_COPY is not None:
            patcher.add_callback(_ON_COPY, self._keep_copy)
        return patcher

    def _keep_copy(self, _: ModelPatcher, copy: ModelPatcher) -> None:
        self._copies[copy.load_device] = copy.model


def _patcher_class() -> type[ModelPatcher]:
    # Newer versions of ComfyUI load weights as they are used, and unload other models for the sake of a plain
    # ModelPatcher. Looked up late: ComfyUI chooses the class when it starts.
    return getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)


def _rebuilt(
    build: Callable[[], nn.Module], load_device: Any, offload_device: Any, disable_dynamic: bool = False
) -> ModelPatcher:
    patcher = comfy.model_patcher.ModelPatcher if disable_dynamic else _patcher_class()
    return patcher(build(), load_device=load_device, offload_device=offload_device)
