"""Muon for weights of any number of dimensions, in single precision.

torch's own (`torch.optim.Muon`) takes matrices alone and iterates in bfloat16, which is fifty times slower than float32
on processors without such instructions. This one is for small models that are trained there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024): steep at zero, about 1 at the end.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal: every direction of a weight learns at the same rate.

    A convolution [out, in, ...] counts as the matrix [out, in * ...].

    Args:
        parameters: weights of two dimensions or more.
        lr: learning rate; an update's root mean square is about `lr` * sqrt(max(1, out / in) / in).
        momentum: of the gradients, Nesterov's.
        weight_decay: share of the weights taken away per step and unit of the learning rate.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step; parameters without a gradient stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                mean = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(mean, group["momentum"]).flatten(1)
                rows, columns = update.shape
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                parameter.add_(orthogonal(update).view_as(parameter), alpha=-scale)
        return None if closure is None else closure()


def orthogonal(matrix: Tensor) -> Tensor:
    """Return a matrix [M, N] with about the same singular vectors, whose singular values lie near 1 (Newton-Schulz)."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if is_tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
