"""Muon for weights of any number of dimensions, also where bfloat16 is slow.

torch's own (`torch.optim.Muon`) takes matrices alone and iterates in bfloat16, which is fifty times slower than float32
on processors without such instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .bfloat16 import is_fast_in_bfloat16

# Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024): steep at zero, about 1 at the end.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5

# Liu et al., "Muon is scalable for LLM training" (Moonlight, 2025), section 2.2: AdamW's usual root mean square.
_ADAMW_SIZE = 0.2

_MEAN = "momentum_buffer"  # as torch's calls it


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal: every direction of a weight learns at the same rate.

    A convolution [out, in, ...] counts as the matrix [out, in * ...].

    Args:
        parameters: weights of two dimensions or more.
        lr: learning rate; an update's root mean square is about `lr` * sqrt(max(1, out / in) / max(out, in)).
        momentum: of the gradients, Nesterov's.
        weight_decay: share of the weights taken away per step and unit of the learning rate.
        as_adamw: bring an update's root mean square to 0.2 `lr` instead, as AdamW's is: one rate serves both.
        dtype: in which an update is made orthogonal; None for bfloat16 where it is fast, and float32 elsewhere.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        *,
        as_adamw: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._as_adamw, self._dtype = as_adamw, dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step; parameters without a gradient stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if _MEAN not in state:
                    state[_MEAN] = torch.zeros_like(parameter)
                mean = state[_MEAN].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(mean, group["momentum"]).flatten(1)
                rows, columns = update.shape
                scale = _ADAMW_SIZE * max(rows, columns) ** 0.5 if self._as_adamw else max(1.0, rows / columns) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                step = orthogonal(update.to(self._dtype or _usual_dtype(update.device)))
                parameter.add_(step.to(parameter).view_as(parameter), alpha=-scale * group["lr"])
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


@cache
def _usual_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if is_fast_in_bfloat16(device) else torch.float32
