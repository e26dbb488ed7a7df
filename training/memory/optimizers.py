"""The optimizers of a training: AdamW, AdamW whose moments take 8 bits, and Muon for the matrices of the blocks.

Muon (Jordan et al. 2024) brings a matrix's momentum near to the nearest orthogonal one and needs one moment in the
place of two. It is scaled as Liu et al. 2025 do (Moonlight), to AdamW's usual step: one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..muon import Muon

ADAMW, ADAMW_8BIT, MUON = "adamw", "adamw 8-bit", "muon"
OPTIMIZERS = (ADAMW, ADAMW_8BIT, MUON)

_MOMENTUM = 0.95  # Muon's
_GROUP_8BIT = 256  # numbers that share a scale
_SMALLEST_8BIT = 4096  # smaller tensors keep float32, in bitsandbytes


def optimizer_of(
    method: str,
    groups: Sequence[Mapping[str, Any]],
    names: Mapping[nn.Parameter, str],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> Optimizer:
    """Return an optimizer.

    Args:
        method: one of `OPTIMIZERS`.
        groups: of parameters, as torch's optimizers take them: "params" and what else belongs to the group.
        names: of all of them; Muon takes the matrices of what has `blocks` in its name.
        lr: learning rate, where a group has none of its own.
        betas: AdamW's.
        eps: AdamW's.
        weight_decay: of AdamW and Muon.

    Raises:
        ValueError: if the 8-bit form's library is not installed.
    """
    settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    if method == MUON:
        return MuonAndAdamW(groups, names, **settings)
    return (_adamw_8bit() if method == ADAMW_8BIT else torch.optim.AdamW)(groups, **settings)


def state_bytes(method: str, parameters: Iterable[tuple[str, Tensor]]) -> int:
    """Return what an optimizer keeps of parameters, by name, beside themselves and their gradients."""
    return sum(_state_bytes(method, name, value) for name, value in parameters)


def step_bytes(method: str, parameters: Sequence[tuple[str, Tensor]]) -> int:
    """Return what an optimizer's step takes for as long as it lasts.

    torch's AdamW makes the roots of all second moments at once on GPUs; the others go parameter by parameter, and Muon
    has five matrices in bfloat16 at a time.
    """
    sizes = [(4 if method == ADAMW or not is_matrix(name, value) else 0) * value.numel() for name, value in parameters]
    if method == ADAMW:
        return sum(sizes)
    largest = max((value.numel() for _, value in parameters), default=0)
    return (sum(sizes) + 10 * largest) if method == MUON else 4 * largest


def is_matrix(name: str, value: Tensor) -> bool:
    """Whether Muon takes a parameter: a matrix within a block, rather than an embedding, the head, a bias or a norm."""
    return value.ndim == 2 and "blocks." in name


class MuonAndAdamW(Optimizer):
    """Muon for the matrices of blocks, AdamW for the rest, as one optimizer with one state.

    Args:
        groups: as of torch's optimizers.
        names: of all parameters.
        lr, betas, eps, weight_decay: AdamW's; lr and weight_decay are Muon's too.
    """

    def __init__(
        self,
        groups: Sequence[Mapping[str, Any]],
        names: Mapping[nn.Parameter, str],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        divided = []
        for group in groups:
            for matrices in (True, False):
                chosen = [value for value in group["params"] if is_matrix(names[value], value) == matrices]
                if chosen:
                    divided.append({**group, "params": chosen, "muon": matrices})
        super().__init__(divided, {"lr": lr, "weight_decay": weight_decay})
        matrices = [value for value, name in names.items() if is_matrix(name, value)]
        self._muon = Muon(matrices, lr, _MOMENTUM, weight_decay, as_adamw=True)
        others = [value for value, name in names.items() if not is_matrix(name, value)]
        self._adamw = torch.optim.AdamW(others, lr, betas, eps, weight_decay)
        self._share()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # ty: ignore[invalid-method-override]
        """Take a step with the gradients that are there."""
        self._muon.step()
        self._adamw.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take another's state."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let both parts work on this optimizer's own groups and state."""
        for part, of_matrices in ((self._muon, True), (self._adamw, False)):
            part.state = self.state
            defaults = part.defaults
            part.param_groups = [group for group in self.param_groups if group["muon"] == of_matrices]
            for group in part.param_groups:
                for key, value in defaults.items():
                    group.setdefault(key, value)


def _state_bytes(method: str, name: str, value: Tensor) -> int:
    count = value.numel()
    if method == MUON and is_matrix(name, value):
        return 4 * count
    if method == ADAMW_8BIT and count >= _SMALLEST_8BIT:
        return 2 * (count + 4 * -(-count // _GROUP_8BIT))
    return 8 * count


def _adamw_8bit() -> type[Optimizer]:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ModuleNotFoundError as error:
        raise ValueError(
            f'[optimizer] method = "{ADAMW_8BIT}" is that of bitsandbytes, which is not installed: pip install '
            f'bitsandbytes, or take method = "{ADAMW}".'
        ) from error

    class ResumedAdamW8bit(AdamW8bit):  # ty: ignore[unsupported-base]
        """bitsandbytes' own, which takes a number of steps as a checkpoint has it: as a tensor."""

        def load_state_dict(self, state_dict: dict[str, Any], **kwargs: Any) -> None:
            super().load_state_dict(state_dict, **kwargs)
            for state in self.state.values():
                state["step"] = int(state["step"])

    return ResumedAdamW8bit
