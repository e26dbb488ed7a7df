"""A sampling run whose prediction becomes NaN or infinity ends there, with the step and what is likely to blame.

Else it goes on for its hours, and the VAE decodes a black video.

Every step's prediction is reduced to one number on its own device, and that number travels to the CPU while the next
step is computed: it is read one step later, when it lies there already, so that a GPU never waits for the CPU. On the
CPU it is read at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_CAUSES = (
    "Likely causes, the most frequent first: fp16 that overflows (load the base model as bf16 or fp8); SageAttention "
    "or another attention patch (start ComfyUI without --use-sage-attention, and remove attention nodes); a broken "
    "LoRA or base model file, or one of another model; a LoRA strength, CFG or prompt that is far too large. Change "
    "one of them and queue again."
)


class FiniteSteps:
    """The callback of a sampling run, with a check of every step's prediction.

    Args:
        what: runs, for the message: "EgoX".
        callback: the run's own, called with (step, prediction, noisy latent, steps); or None.
    """

    def __init__(self, what: str, callback: Callable[[int, Tensor, Tensor, int], Any] | None) -> None:
        self._what = what
        self._callback = callback
        self._pending: tuple[Tensor, Any, int, int] | None = None

    def __call__(self, step: int, prediction: Tensor, noisy: Tensor, steps: int) -> None:
        """Check the step before, take this one's number, and call the run's own callback."""
        self.check_last()
        self._pending = (*_sent(prediction), step, steps)
        if not prediction.is_cuda:
            self.check_last()
        if self._callback is not None:
            self._callback(step, prediction, noisy, steps)

    def check_last(self) -> None:
        """Read the number of the last step that was seen.

        Raises:
            ValueError: if that step's prediction was not finite.
        """
        if self._pending is None:
            return
        (number, arrival, step, steps), self._pending = self._pending, None
        if arrival is not None:
            arrival.synchronize()
        if not bool(number.isfinite()):
            raise ValueError(
                f"{self._what}: the model's prediction is not finite (NaN or infinity) from step {step + 1} of {steps} "
                f"on. {_CAUSES}"
            )

    def check(self, samples: Tensor) -> Tensor:
        """Return what the run gave, if it is finite: some samplers call nobody.

        Raises:
            ValueError: if it is not.
        """
        self.check_last()
        if not bool(_reduced(samples).isfinite()):
            raise ValueError(f"{self._what}: the sampled latent is not finite (NaN or infinity). {_CAUSES}")
        return samples


def _reduced(values: Tensor) -> Tensor:
    """Return a number that is finite exactly where all values are: the larger magnitude of both ends."""
    low, high = values.detach().aminmax()  # NaN makes both NaN
    return torch.maximum(-low, high).float()


def _sent(values: Tensor) -> tuple[Tensor, Any]:
    """Return `_reduced` on the CPU, and the event after which it lies there; None where it does already."""
    number = _reduced(values)
    if not number.is_cuda:
        return number.cpu(), None
    arrived = torch.empty((), dtype=number.dtype, pin_memory=True)
    arrived.copy_(number, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return arrived, event
