"""Correct ComfyUI's memory estimate for what a model sees beside the latent that is sampled.

ComfyUI estimates from the ego latent. With EgoX the model sees exo and ego side by side: at EgoX's size 2.75 times as
much. With Exo2EgoSyn cross-attention keeps the exo tokens. The estimate is used twice: before loading the model, and
before every step to decide whether positive and negative fit into one batch. Both take the shape of a latent, so both
are given a larger one.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import comfy.model_management

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

# Vectors for an exo token while a block runs: the token, its key and its value, and one more for attention kernels and
# norms that work on copies.
TENSORS_PER_TOKEN = 4

# ComfyUI's estimate grows with the cells of a latent; over so many a constant part would not count.
_MANY_CELLS = 10**6

_CELLS_OF_A_TOKEN = 4  # of Wan's patch, 2 x 2

# The corrections that the shape has already of which an estimate is made. Loading swaps object patches late, so an
# estimate before loading may or may not meet `memory_required` of this run or of the run before.
_corrections: ContextVar[frozenset[type]] = ContextVar("exo2ego_corrections_of_the_shape", default=frozenset())


class MemoryEstimate(ABC):
    """Changes the latent shape from which ComfyUI estimates memory, once however often it is applied.

    Args:
        memory_required: the model's own estimate, or another pack's patch of it.
    """

    def __init__(self, memory_required: Callable[..., float]) -> None:
        applied_before = getattr(memory_required, "__self__", None)
        if isinstance(applied_before, type(self)):
            memory_required = applied_before._memory_required
        self._memory_required = memory_required

    @abstractmethod
    def enlarged(self, shape: list[int]) -> list[int]:
        """Return a latent shape [B, C, T, h, w] of which ComfyUI estimates what `shape` takes."""

    def prepare_sampling(
        self, executor: Callable[..., Any], model: Any, noise_shape: Sequence[int], *args: Any, **kwargs: Any
    ) -> Any:
        """PREPARE_SAMPLING wrapper: estimate from the larger shape before the model is loaded."""
        with self._corrected(noise_shape) as shape:
            return executor(model, shape, *args, **kwargs)

    def memory_required(self, input_shape: Sequence[int], *args: Any, **kwargs: Any) -> float:
        """Object patch of the model's `memory_required`: estimate from the larger shape at every step.

        Newer versions of ComfyUI pass further keywords; those that the patched function does not know are left out.
        """
        with self._corrected(input_shape) as shape:
            return self._memory_required(shape, *args, **_accepted(self._memory_required, kwargs))

    @contextmanager
    def _corrected(self, shape: Sequence[int]) -> Iterator[list[int]]:
        before = _corrections.get()
        token = _corrections.set(before | {type(self)})
        try:
            yield list(shape) if type(self) in before else self.enlarged(list(shape))
        finally:
            _corrections.reset(token)


class WideMemoryEstimate(MemoryEstimate):
    """EgoX's: the exo view stands beside the sampled one.

    Args:
        exo_width: latent columns of the exo view.
        memory_required: the model's own estimate, or another pack's patch of it.
    """

    def __init__(self, exo_width: int, memory_required: Callable[..., float]) -> None:
        super().__init__(memory_required)
        self._exo_width = exo_width

    def enlarged(self, shape: list[int]) -> list[int]:
        """Widen the shape."""
        return [*shape[:-1], shape[-1] + self._exo_width]


class TokenMemoryEstimate(MemoryEstimate):
    """Exo2EgoSyn's: cross-attention holds the exo tokens of every row, and makes keys and values of them.

    What PoseInj and VAWAN need passes before a block and is less than what the block needs, but for the pose tokens
    of AC3D's light blocks. Time&Pose makes vectors for every token only where a block is not at its peak.

    Args:
        n_tokens: exo tokens.
        dim: their width.
        model: MODEL whose estimate is corrected.
        per_sampled_token: numbers held for a sampled token beside Wan's own.
    """

    def __init__(self, n_tokens: int, dim: int, model: ModelPatcher, per_sampled_token: int = 0) -> None:
        super().__init__(model.get_model_object("memory_required"))
        size = comfy.model_management.dtype_size(model.model.manual_cast_dtype or model.model.get_dtype())
        self._bytes = n_tokens * dim * size * TENSORS_PER_TOKEN
        self._bytes_per_cell = per_sampled_token * size / _CELLS_OF_A_TOKEN

    def enlarged(self, shape: list[int]) -> list[int]:
        """Append the cells of which ComfyUI estimates as many bytes."""
        batch, channels = shape[:2]
        per_cell = self._memory_required([1, channels, 1, 1, _MANY_CELLS]) / _MANY_CELLS
        if per_cell <= 0:  # another pack's estimate that knows no sizes
            return shape
        cells = math.prod(shape[2:])
        return [batch, channels, 1, 1, cells + math.ceil((self._bytes + cells * self._bytes_per_cell) / per_cell)]


class KeptMemoryEstimate(MemoryEstimate):
    """Exo reuse's: tensors on the model's device that outlive a step, however much of the clip the model sees at once.

    Args:
        outstanding: returns the bytes that the run will keep and does not hold yet; of free memory, ComfyUI knows that
            what is held is gone.
        memory_required: the model's own estimate, or another patch of it.
    """

    def __init__(self, outstanding: Callable[[], int], memory_required: Callable[..., float]) -> None:
        super().__init__(memory_required)
        self._outstanding = outstanding

    def enlarged(self, shape: list[int]) -> list[int]:
        """Widen the shape by the columns of which ComfyUI estimates as many bytes for one item of the batch.

        ComfyUI loads the model by an estimate for one batch, and unloads other models by one for two.
        """
        batch, channels, *sizes = shape
        per_cell = self._memory_required([1, channels, 1, 1, _MANY_CELLS]) / _MANY_CELLS
        if per_cell <= 0:  # another pack's estimate that knows no sizes
            return shape
        column = batch * math.prod(sizes[:-1])
        return [*shape[:-1], shape[-1] + math.ceil(self._outstanding() / (per_cell * column))]

    def memory_required(self, input_shape: Sequence[int], *args: Any, **kwargs: Any) -> float:
        """Object patch of the model's `memory_required`: add the bytes, however large a batch is asked about."""
        more = 0 if type(self) in _corrections.get() else self._outstanding()
        with self._corrected_already():
            return more + self._memory_required(input_shape, *args, **_accepted(self._memory_required, kwargs))

    @contextmanager
    def _corrected_already(self) -> Iterator[None]:
        token = _corrections.set(_corrections.get() | {type(self)})
        try:
            yield
        finally:
            _corrections.reset(token)


def _accepted(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return keywords
    return {name: value for name, value in keywords.items() if name in parameters}
