"""Plain flash attention written as the fused kernel is, to count beside it: ego queries to all keys, without GGA."""

# Triton reads the annotations of kernels itself, so no `from __future__ import annotations` here.
import triton
import triton.language as tl


@triton.jit
def plain_flash(
    q,
    k,
    v,
    out,
    stride_qb,
    stride_q,
    stride_kb,
    stride_k,
    stride_vb,
    stride_v,
    stride_ob,
    stride_o,
    heads,
    scale,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    EXO_COLUMNS: tl.constexpr,
    EGO_COLUMNS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    columns: tl.constexpr = EXO_COLUMNS + EGO_COLUMNS
    n_queries: tl.constexpr = FRAMES * ROWS * EGO_COLUMNS
    n_keys: tl.constexpr = FRAMES * ROWS * columns
    n_whole: tl.constexpr = n_keys // BLOCK_N
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads * HEAD_DIM
    channel = tl.arange(0, HEAD_DIM)
    index = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    here = (index < n_queries)[:, None]
    token = (index // EGO_COLUMNS * columns + EXO_COLUMNS + index % EGO_COLUMNS).to(tl.int64)
    query = tl.load(q + batch * stride_qb + token[:, None] * stride_q + head + channel, mask=here, other=0.0)
    k_block = k + batch * stride_kb + head
    v_block = v + batch * stride_vb + head
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    sums = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    lane = tl.arange(0, BLOCK_N)[:, None]
    for _ in range(0, n_whole):
        key = tl.load(k_block + (lane * stride_k + channel[None, :]))
        products = tl.dot(query, tl.trans(key))
        new_top = tl.maximum(top, tl.max(products, axis=1))
        weights = tl.exp2(products * scale - (new_top * scale)[:, None])
        kept = tl.exp2((top - new_top) * scale)
        total = total * kept + tl.sum(weights, axis=1)
        value = tl.load(v_block + (lane * stride_v + channel[None, :]))
        sums = tl.dot(weights.to(value.dtype), value, sums * kept[:, None])
        top = new_top
        k_block += BLOCK_N * stride_k
        v_block += BLOCK_N * stride_v
    result = (sums / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + batch * stride_ob + token[:, None] * stride_o + head + channel, result, mask=here)
