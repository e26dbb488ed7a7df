"""Whether a LoRA learns: how large its updates are beside the weights, and which have not moved at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...networks.weights.lora_keys import split_key

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LoraHealth:
    """A LoRA's state.

    Attributes:
        shares: |update| / |weight| by layer, Frobenius norms. 1 to 20 % is what trained EgoX LoRAs have.
        dead: layers whose factor up is still zero.
    """

    shares: dict[str, float]
    dead: tuple[str, ...]

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
        down, up = module.lora_A["default"].weight.float(), module.lora_B["default"].weight.float()
        # |up down|^2 = trace((up^T up) (down down^T)): the update itself is as large as the weight.
        square = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)
        shares[layer] = float(module.scaling["default"] * square.sqrt() / module.base_layer.weight.float().norm())
        if not up.any():
            dead.append(layer)
    return LoraHealth(shares, tuple(dead))
