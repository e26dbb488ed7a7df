"""Whether a training learns: gradients by group, how large updates are beside the weights, and what has not moved."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...networks.weights.lora_keys import split_key, within_block

if TYPE_CHECKING:
    from torch import nn

_BLOCK = re.compile(r".*\bblocks\.\d+\.(.+)")


@dataclass(frozen=True)
class LoraHealth:
    """A LoRA's state.

    Attributes:
        shares: |update| / |weight| by layer, Frobenius norms. 1 to 20 % is what trained EgoX LoRAs have.
        dead: layers whose factor up is still zero.
    """

    shares: dict[str, float]
    dead: tuple[str, ...]

    def by_group(self) -> dict[str, float]:
        """Return the median share of each kind of layer, such as `self_attn.q`, over the blocks."""
        groups: dict[str, list[float]] = defaultdict(list)
        for layer, share in self.shares.items():
            groups[group_of(layer)].append(share)
        return {group: statistics.median(shares) for group, shares in groups.items()}

    def describe(self) -> str:
        """Return it as a line."""
        if not self.shares:
            return "no LoRA"
        values = sorted(self.shares.values())
        middle = values[len(values) // 2]
        dead = f"; {len(self.dead)} have not moved, such as {self.dead[0]}" if self.dead else ""
        return f"updates of {values[0]:.2%} to {values[-1]:.2%} of the weights (median {middle:.2%}){dead}"


@torch.no_grad()
def lora_health(network: nn.Module) -> LoraHealth:
    """Return the state of the LoRA on a network."""
    shares, dead = {}, []
    for name, module in network.named_modules():
        if not getattr(module, "lora_A", None):
            continue
        split = split_key(f"{name}.lora_A.weight")
        layer = name if split is None else split[0]
        down = module.lora_A["default"].weight.float().flatten(1)  # [rank, inputs]; of a convolution, of a patch
        up = module.lora_B["default"].weight.float().flatten(1)  # [outputs, rank]
        # |up down|^2 = trace((up^T up) (down down^T)): the update itself is as large as the weight.
        square = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)
        shares[layer] = float(module.scaling["default"] * square.sqrt() / module.base_layer.weight.float().norm())
        if not up.any():
            dead.append(layer)
    return LoraHealth(shares, tuple(dead))


@torch.no_grad()
def gradient_norms(parameters: Mapping[str, nn.Parameter]) -> dict[str, float]:
    """Return the norm of the gradients of each group of parameters; see `group_of`."""
    groups: dict[str, list[torch.Tensor]] = defaultdict(list)
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            groups[group_of(name)].append(torch.linalg.vector_norm(parameter.grad.float()))
    # One copy from the device for all of them.
    norms = torch.stack([torch.linalg.vector_norm(torch.stack(found)) for found in groups.values()]) if groups else ()
    return dict(zip(groups, map(float, norms.tolist() if groups else ())))


def group_of(name: str) -> str:
    """Return the group of a parameter or layer: its kind of layer, over all blocks, such as `self_attn.q`.

    What lies outside of the blocks is grouped by the module that it belongs to.
    """
    if (split := split_key(name)) is not None:
        return within_block(split[0])
    if (block := _BLOCK.fullmatch(name)) is not None:
        return ".".join(block[1].split(".")[:2])
    return name.removeprefix("transformer.").split(".")[0]
