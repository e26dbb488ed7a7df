"""Attention in int8 as SageAttention's papers publish it, in plain torch, with a bias: what the int8 kernel is held to.

SageAttention (arXiv 2410.02367, section 4): keys lose their mean over the tokens; queries and keys are rounded to int8
by one step a block, of 128 queries and of 64 keys; products are exact; weights and values are float16. SageAttention 2
(arXiv 2411.10958) and its kernels for int8 differ in how small the parts are that share a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

QUERIES, KEYS = 128, 64


def int8_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, queries: int = QUERIES, keys: int = KEYS
) -> Tensor:
    """Return attention of queries [B, H, Q, d] to keys and values [B, H, K, d], computed with steps of int8.

    Args:
        q: queries.
        k: keys.
        v: values.
        bias: [Q, K], added to the logits.
        queries: that share a step.
        keys: that share a step.

    Returns:
        [B, H, Q, d] in float64.
    """
    q, k = q.double(), k.double()
    k = k - k.mean(dim=2, keepdim=True)
    logits = rounded(q, queries) @ rounded(k, keys).transpose(2, 3) * q.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    sums = weights.half().double() @ v.half().double()
    return sums / weights.sum(dim=-1, keepdim=True)


def rounded(x: Tensor, block: int) -> Tensor:
    """Return tokens [B, H, L, d] as multiples of their block's step, of which the largest is 127."""
    parts = []
    for part in x.split(block, dim=2):
        step = part.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-30) / 127
        parts.append((part / step).round() * step)
    return torch.cat(parts, dim=2)
