"""Which back end computes the attention of the ego queries, and what it says of its choice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module

import torch
from torch import Tensor

from ..common.safe_text import safe_logger
from .backends.backend import Backend
from .call import AttentionCall

BACKEND_VARIABLE = "EXO2EGO_GGA_BACKEND"

# The choice that takes the first back end that can, in the order of BACKENDS.
AUTO = "auto"

# Modules of `backends`, best first. The last one that is automatic takes every call.
_ORDER = ("triton", "flex", "sdpa", "triton_int8", "harmonics", "reference")
BACKENDS: dict[str, Backend] = {name: import_module(f".backends.{name}", __package__).BACKEND for name in _ORDER}

# What a person can choose.
CHOICES = (AUTO, *BACKENDS)

_log = safe_logger(__name__)

_said: set[str] = set()
# Why a back end is left out, by device and width of a head: small cards and odd sizes fail alone.
_failed: dict[tuple[str, torch.device, int], str] = {}


def ego_attention(call: AttentionCall, out: Tensor, backend: str = AUTO) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`, on the best back end.

    A back end that fails on this machine is reported once and left out from then on.

    Args:
        call: queries, keys and values, and what guides them.
        out: [B, n_tokens, heads * d].
        backend: AUTO, unless the environment variable EXO2EGO_GGA_BACKEND says otherwise, or the one to take.

    Raises:
        ValueError: if no back end has the name, or the back end asked for cannot take the call.
    """
    name = requested(backend)
    if name != AUTO:
        reason = BACKENDS[name].unsupported(call)
        if reason is not None:
            raise ValueError(f"GGA's back end '{name}' cannot be used here: {reason}. Choose '{AUTO}', or another one.")
        _say(f"GGA's attention runs on the back end '{name}', as asked for.")
        BACKENDS[name].attend(call, out)
        return
    last = [known for known in BACKENDS if BACKENDS[known].automatic][-1]
    for candidate in _candidates(call):
        try:
            BACKENDS[candidate].attend(call, out)
            return
        except Exception as error:  # compilers of kernels fail in many ways
            if candidate == last or _is_out_of_memory(error):
                raise  # ComfyUI frees memory and tries again
            reason = f"it failed with {_first_line(error)}"
            _failed[_place(candidate, call)] = reason
            _log.warning("GGA's back end '%s' is left out: %s", candidate, reason, exc_info=error)


def requested(backend: str) -> str:
    """Return the back end to use where a node asks for `backend`: AUTO leaves it to the environment variable.

    Raises:
        ValueError: if no back end has the name.
    """
    told = os.environ.get(BACKEND_VARIABLE, "").strip().lower() if backend == AUTO else ""
    name = told or backend
    if name not in CHOICES:
        where, remedy = (BACKEND_VARIABLE, "change or unset it") if told else ("GGA's back end", "choose one of these")
        raise ValueError(f"{where} is one of {', '.join(CHOICES)}, got {name!r}: {remedy}.")
    return name


def _candidates(call: AttentionCall) -> Iterator[str]:
    """Yield the back ends that `auto` can take, best first; the first choice and why is said once."""
    passed_over = []
    for name, backend in BACKENDS.items():
        if not backend.automatic:
            continue
        reason = _failed.get(_place(name, call)) or backend.declined(call) or backend.unsupported(call)
        if reason is not None:
            passed_over.append(f"{name}: {reason}")
            continue
        because = f" ({'; '.join(passed_over)})" if passed_over else ""
        _say(f"GGA's attention runs on the back end '{name}'{because}.")
        yield name
        passed_over.append(f"{name}: {_failed.get(_place(name, call), '')}")


def _place(name: str, call: AttentionCall) -> tuple[str, torch.device, int]:
    return name, call.q.device, call.head_dim


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
