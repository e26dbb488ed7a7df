"""Which back end computes the attention of the ego queries, and what it says of its choice."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from enum import Enum
from types import ModuleType

import torch
from torch import Tensor

from .backends import flex, reference, sdpa
from .backends import triton as triton_attention
from .bias import GGABias
from .directions import TokenDirections
from .layout import TokenLayout

BACKEND_VARIABLE = "EXO2EGO_GGA_BACKEND"

_log = logging.getLogger(__name__)


class Backend(str, Enum):
    """Who computes the biased attention; AUTO takes the first that can, in this order."""

    AUTO = "auto"
    TRITON = "triton"
    FLEX = "flex"
    SDPA = "sdpa"
    REFERENCE = "reference"


# Each has `unsupported(q, heads) -> reason or None` and `attend(q, k, v, heads, layout, directions, bias, out)`.
MODULES: dict[Backend, ModuleType] = {
    Backend.TRITON: triton_attention,
    Backend.FLEX: flex,
    Backend.SDPA: sdpa,
    Backend.REFERENCE: reference,
}

# `reference` is for tests.
_AUTOMATIC = (Backend.TRITON, Backend.FLEX, Backend.SDPA)

_said: set[str] = set()
# Why a back end is left out, by device and width of a head: small cards and odd sizes fail alone.
_failed: dict[tuple[Backend, torch.device, int], str] = {}


def ego_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    layout: TokenLayout,
    directions: TokenDirections,
    bias: GGABias,
    out: Tensor,
    backend: Backend = Backend.AUTO,
) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`, on the best back end.

    A back end that fails on this machine is reported once and left out from then on.

    Args:
        q: queries [B, n_tokens, heads * d].
        k: keys, of the same shape.
        v: values, of the same shape.
        heads: number of heads.
        layout: order of the tokens.
        directions: on the device of `q`.
        bias: which bias to add to the logits of ego queries and exo keys.
        out: [B, n_tokens, heads * d].
        backend: AUTO, unless the environment variable EXO2EGO_GGA_BACKEND says otherwise, or the one to take.

    Raises:
        ValueError: if the variable names no back end, or the back end asked for cannot take these tensors.
    """
    backend = requested(backend)
    if backend is not Backend.AUTO:
        reason = MODULES[backend].unsupported(q, heads)
        if reason is not None:
            raise ValueError(
                f"GGA's back end '{backend.value}' cannot be used here: {reason}. Choose 'auto', or another one."
            )
        _say(f"GGA's attention runs on the back end '{backend.value}', as asked for.")
        MODULES[backend].attend(q, k, v, heads, layout, directions, bias, out)
        return
    for candidate in _candidates(q, heads):
        try:
            MODULES[candidate].attend(q, k, v, heads, layout, directions, bias, out)
            return
        except Exception as error:  # compilers of kernels fail in many ways
            if candidate is Backend.SDPA or _is_out_of_memory(error):
                raise  # ComfyUI frees memory and tries again
            reason = f"it failed with {_first_line(error)}"
            _failed[_place(candidate, q, heads)] = reason
            _log.warning("GGA's back end '%s' is left out: %s", candidate.value, reason, exc_info=error)


def requested(backend: Backend) -> Backend:
    """Return the back end to use where a node asks for `backend`: AUTO leaves it to the environment variable.

    Raises:
        ValueError: if the variable names no back end.
    """
    name = os.environ.get(BACKEND_VARIABLE, "").strip().lower()
    if backend is not Backend.AUTO or not name:
        return Backend(backend)
    try:
        return Backend(name)
    except ValueError:
        names = ", ".join(known.value for known in Backend)
        raise ValueError(f"{BACKEND_VARIABLE} is one of {names}, got {name!r}: change or unset it.") from None


def _candidates(q: Tensor, heads: int) -> Iterator[Backend]:
    """Yield the back ends that can take `q`, best first; the first choice and why is said once."""
    passed_over = []
    for candidate in _AUTOMATIC:
        reason = _failed.get(_place(candidate, q, heads)) or MODULES[candidate].unsupported(q, heads)
        if candidate is Backend.FLEX and q.device.type != "cuda":
            reason = "its compiled kernel pays on GPUs alone"
        if reason is not None:
            passed_over.append(f"{candidate.value}: {reason}")
            continue
        because = f" ({'; '.join(passed_over)})" if passed_over else ""
        _say(f"GGA's attention runs on the back end '{candidate.value}'{because}.")
        yield candidate
        passed_over.append(f"{candidate.value}: {_failed.get(_place(candidate, q, heads), '')}")


def _place(backend: Backend, q: Tensor, heads: int) -> tuple[Backend, torch.device, int]:
    return backend, q.device, q.shape[-1] // heads


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was short: Triton and inductor say so in errors of their own."""
    if error is None:
        return False
    is_named = isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error).lower()
    return is_named or _is_out_of_memory(error.__cause__)


def _first_line(error: Exception) -> str:
    # Assertions of compilers often come without a text.
    return f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")


def _say(text: str) -> None:
    if text not in _said:
        _said.add(text)
        _log.info(text)
