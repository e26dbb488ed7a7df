"""Back end `triton`: GGA in one fused kernel, on CUDA GPUs with half-precision tensors."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from ..call import AttentionCall
from .backend import Backend
from .triton_gradients import attend_with_gradients
from .triton_launch import launch
from .triton_tiles import Tile, capability_of

HEAD_DIMS = (64, 128)
DTYPES = (torch.float16, torch.bfloat16)

# Before it there are neither bfloat16 nor copies into shared memory that run beside the products.
OLDEST_CAPABILITY = 80


def missing_triton() -> str | None:
    """Return why Triton cannot be used on this machine, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed (for Windows there is triton-windows)"
    return None


def unsupported(call: AttentionCall) -> str | None:
    """Return why the kernel cannot take a call, or None."""
    q = call.q
    if call.needs_grad and call.directions.requires_grad:
        return "its backward pass gives the directions no gradient, and one is asked for"
    if q.device.type != "cuda" and not _interpreted():
        return f"the device is {q.device.type}, not a CUDA GPU"
    if torch.version.hip is not None:
        return "the kernel is written for NVIDIA cards, and this PyTorch is AMD's"
    if q.device.type == "cuda" and capability_of(q.device) < OLDEST_CAPABILITY:
        return f"the kernel needs compute capability {OLDEST_CAPABILITY / 10} (Ampere) or newer"
    if q.dtype not in DTYPES:
        return f"the kernel takes float16 and bfloat16, not {str(q.dtype).removeprefix('torch.')}"
    if call.head_dim not in HEAD_DIMS:
        return f"the kernel takes head dimensions {HEAD_DIMS}, not {call.head_dim}"
    return missing_triton()


def attend(call: AttentionCall, out: Tensor, tile: Tile | None = None) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`.

    Args:
        call: its queries are float16 or bfloat16.
        out: [B, n_tokens, heads * d], its last axis contiguous.
        tile: defaults to the one of triton_tiles.py.
    """
    if call.needs_grad:
        return attend_with_gradients(call, out, tile)
    return launch(call, out, None, tile)


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


BACKEND = Backend("one fused kernel (NVIDIA, fp16 or bf16)", attend, unsupported)
