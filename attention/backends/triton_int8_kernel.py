"""Keys in int8 and values in float16 for the fused kernel, as SageAttention prepares them.

Import this module only where Triton is installed.
"""

# Triton reads the annotations of kernels itself, so no `from __future__ import annotations` here.
import triton
import triton.language as tl

from .triton_kernel import quantized

# float16 ends here.
_MOST = tl.constexpr(65504.0)


@triton.jit
def gga_quantize(
    k,
    v,
    means,
    whole_k,
    key_scales,
    half_v,
    stride_kb,
    stride_k,
    stride_vb,
    stride_v,
    stride_mb,
    stride_wb,
    stride_w,
    heads,
    N_KEYS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Write one block of keys of one head less their mean as int8, and its values as float16.

    Grid (blocks of keys, batch * heads). `k` and `v` are [B, N_KEYS, heads * HEAD_DIM], `means` [B, heads * HEAD_DIM]
    float32; `whole_k` and `half_v` are of one shape with `k` and of one layout. `key_scales` [B * heads, blocks].
    """
    batch = (tl.program_id(1) // heads).to(tl.int64)
    channel = tl.program_id(1) % heads * HEAD_DIM + tl.arange(0, HEAD_DIM)[None, :]
    token = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    exists = token < N_KEYS
    token = token.to(tl.int64)
    mean = tl.load(means + batch * stride_mb + channel)  # [1, D]
    key = tl.load(k + batch * stride_kb + token * stride_k + channel, mask=exists, other=0.0).to(tl.float32)
    whole, step = quantized(tl.where(exists, key - mean, 0.0), None)
    tl.store(key_scales + tl.program_id(1) * tl.num_programs(0) + tl.program_id(0), step)
    place = batch * stride_wb + token * stride_w + channel
    tl.store(whole_k + place, whole, mask=exists)
    value = tl.load(v + batch * stride_vb + token * stride_v + channel, mask=exists, other=0.0).to(tl.float32)
    tl.store(half_v + place, tl.minimum(tl.maximum(value, -_MOST), _MOST).to(tl.float16), mask=exists)
