"""Stock attention in its variants: torch's own choice, each of its kernels by itself, and SageAttention."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from ..attention.guided_attention import PlainAttention

DEFAULT = "stock"
SAGE = "sage"

_KERNELS = {
    "cuda": {
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "flash": SDPBackend.FLASH_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
    },
    "cpu": {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH},
}


def variants(device: torch.device) -> dict[str, PlainAttention]:
    """Return plain attention by the name of who computes it; `stock` is what torch chooses by itself."""
    found: dict[str, PlainAttention] = {DEFAULT: attend}
    found |= {name: _by(kernel) for name, kernel in _KERNELS[device.type].items()}
    if device.type == "cuda" and find_spec("sageattention") is not None:
        found[SAGE] = _sage
    return found


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Return plain attention [B, L, heads * d] as ComfyUI's own on PyTorch (attention_pytorch) computes it."""
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # [B, heads, L, d]
    return scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def override(plain: PlainAttention) -> Callable[..., Tensor]:
    """Return an `optimized_attention_override` for ComfyUI that computes with `plain` what has no mask."""

    def attention(
        function: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, *args: object, **kwargs: object
    ) -> Tensor:
        is_masked = kwargs.get("mask") is not None or (len(args) > 0 and args[0] is not None)
        if is_masked or q.ndim != 3 or kwargs.get("skip_reshape") or kwargs.get("skip_output_reshape"):
            return function(q, k, v, heads, *args, **kwargs)
        return plain(q, k, v, heads)

    return attention


def _by(kernel: SDPBackend) -> PlainAttention:
    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        with sdpa_kernel(kernel):
            return attend(q, k, v, heads)

    return attention


def _sage(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    from sageattention import sageattn

    query, key, value = (x.unflatten(2, (heads, -1)) for x in (q, k, v))  # [B, L, heads, d]
    return sageattn(query, key, value, tensor_layout="NHD", is_causal=False).flatten(2)
