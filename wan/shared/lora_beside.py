"""A LoRA beside the weights: up(down(x)), times its scale, added to what a layer gives.

Merging rounds weight plus update to the type that the base is stored in. In float8 with a tensor's scale that costs
more than the update of a LoRA is worth: a layer's output is off by 4.1 % in the place of 2.6 % where the update is 3 %
of the weight. Here the base stays as it is, and the update is computed in the model's own precision.

The layers are changed for the length of one model call alone and by nothing else than their `forward`, whatever class
they are of: offloading, float8, GGUF and other LoRAs work as without it, a clone without the LoRA never sees it, and a
cancelled run leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import comfy.ops
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from .side_model import SideNetwork

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

LORA_KEY = "exo2ego_lora"


class LowRank(nn.Module):
    """The update of one layer's output.

    Args:
        down: [rank, inputs], or of patches that do not overlap [rank, channels, *patch].
        up: [outputs, rank], or [outputs, rank, 1, 1, 1].
        scale: strength and alpha / rank.
    """

    def __init__(self, down: Tensor, up: Tensor, scale: float) -> None:
        super().__init__()
        operations = comfy.ops.manual_cast  # whose layers bring weights to the input's device and type
        rank, inputs, *patch = down.shape
        if patch:
            layer, kernels = operations.Conv3d, ({"kernel_size": patch, "stride": patch}, {"kernel_size": 1})
        else:
            layer, kernels = operations.Linear, ({}, {})
        self.down = layer(inputs, rank, bias=False, device="meta", dtype=down.dtype, **kernels[0])
        self.up = layer(rank, up.shape[0], bias=False, device="meta", dtype=up.dtype, **kernels[1])
        self.load_state_dict({"down.weight": down, "up.weight": up}, assign=True)
        self.requires_grad_(requires_grad=False)
        self._scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the update [..., outputs] of the output for an input [..., inputs]; channels first for patches."""
        return self.up(self.down(x) * self._scale)


class LoraFactors(nn.Module):
    """The updates of all layers, as one network that ComfyUI loads, offloads and counts.

    Args:
        updates: by the layer's name in Wan.
    """

    def __init__(self, updates: Mapping[str, LowRank]) -> None:
        super().__init__()
        self.layers = tuple(updates)
        self.updates = nn.ModuleList(updates.values())


class _Added:
    """The `forward` of a layer with an update."""

    def __init__(self, module: nn.Module, before: Callable[..., Tensor], update: LowRank) -> None:
        self.module = module
        self.before = before
        self._update = update

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the layer gave before, plus the update."""
        # In place: the output is new, and at EgoX's size a third tensor of it would take 0.6 GB.
        return self.before(x, *args, **kwargs).add_(self._update(x))


class LoraBeside:
    """DIFFUSION_MODEL wrapper that adds the updates in one model call."""

    def __init__(self, factors: SideNetwork[LoraFactors]) -> None:
        self._factors = factors
        # The same objects in every call, or torch.compile would compile every call anew.
        self._added: dict[tuple[int, str], _Added] = {}

    # torch.compile traces what it calls, not this, which changes modules.
    @torch.compiler.disable(recursive=False)
    def __call__(self, executor: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the model with the LoRA."""
        with self._installed(executor.class_obj, self._factors.on(x.device)):
            return executor(x, *args, **kwargs)

    @contextmanager
    def _installed(self, network: nn.Module, factors: LoraFactors) -> Iterator[None]:
        # Each entry: the layer, and the `forward` that another pack gave it, which stands in its own dictionary.
        changed: list[tuple[nn.Module, Any]] = []
        try:
            for layer, update in zip(factors.layers, factors.updates):
                module = network.get_submodule(layer)
                added = self._added_to(network, layer, module, update)
                changed.append((module, vars(module).get("forward")))
                module.forward = added.forward
            yield
        finally:
            for module, before in reversed(changed):
                if before is None:
                    del module.forward
                else:
                    module.forward = before

    def _added_to(self, network: nn.Module, layer: str, module: nn.Module, update: LowRank) -> _Added:
        key = (id(network), layer)
        known = self._added.get(key)
        if known is None or known.module is not module or known.before != module.forward:
            known = self._added[key] = _Added(module, module.forward, update)
        return known


def add_beside(patched: ModelPatcher, updates: Mapping[str, tuple[Tensor, Tensor, float]]) -> None:
    """Put a LoRA beside the weights of a MODEL, in place; more than one add up.

    Args:
        patched: MODEL of Wan, a clone that the caller made.
        updates: down, up and scale by the layer's name in Wan, as `LowRank` takes them.
    """
    factors = SideNetwork(lambda: LoraFactors({layer: LowRank(*update) for layer, update in updates.items()}))
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, LORA_KEY, LoraBeside(factors))
    before = patched.get_additional_models_with_key(LORA_KEY)
    patched.set_additional_models(LORA_KEY, [*before, factors.patcher(patched)])
