"""Correct ComfyUI's memory estimate for the exo view.

ComfyUI estimates from the ego latent that it samples, and the model sees exo and ego side by side: at EgoX's size 2.75
times as much. The estimate is used twice: before loading the model, and before every step to decide whether positive
and negative fit into one batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Set while an estimate is made from a shape that is wide already. Loading swaps object patches late, so an estimate
# before loading may or may not meet `memory_required` of this run or of the run before.
_is_wide: ContextVar[bool] = ContextVar("exo2ego_shape_is_wide", default=False)


class WideMemoryEstimate:
    """Widens the latent shape from which ComfyUI estimates memory, once however often it is applied.

    Args:
        exo_width: latent columns of the exo view.
        memory_required: the model's own estimate, or another pack's patch of it.
    """

    def __init__(self, exo_width: int, memory_required: Callable[..., float]) -> None:
        applied_before = getattr(memory_required, "__self__", None)
        if isinstance(applied_before, WideMemoryEstimate):
            memory_required = applied_before._memory_required
        self._exo_width = exo_width
        self._memory_required = memory_required

    def prepare_sampling(
        self, executor: Callable[..., Any], model: Any, noise_shape: Sequence[int], *args: Any, **kwargs: Any
    ) -> Any:
        """PREPARE_SAMPLING wrapper: estimate from the wide shape before the model is loaded."""
        with self._widened(noise_shape) as shape:
            return executor(model, shape, *args, **kwargs)

    def memory_required(self, input_shape: Sequence[int], *args: Any, **kwargs: Any) -> float:
        """Object patch of the model's `memory_required`: estimate from the wide shape at every step.

        Newer versions of ComfyUI pass further keywords; those that the patched function does not know are left out.
        """
        with self._widened(input_shape) as shape:
            return self._memory_required(shape, *args, **_accepted(self._memory_required, kwargs))

    @contextmanager
    def _widened(self, shape: Sequence[int]) -> Iterator[list[int]]:
        wide = list(shape)
        if not _is_wide.get():
            wide[-1] += self._exo_width
        token = _is_wide.set(True)
        try:
            yield wide
        finally:
            _is_wide.reset(token)


def _accepted(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return keywords
    return {name: value for name, value in keywords.items() if name in parameters}
