"""The backward pass of the fused kernel: gradients of the ego queries, and of all keys and values.

Exponentials and GGA's factors are computed anew, block by block, from the tensors of the forward pass and the logarithm
of each query's sum that it left: nothing of the size of the pairs is ever held. As the bias is a number added to the
logit, with p = g exp(s) / sum the gradients are those of plain attention (FlashAttention-2, algorithm 2),

    dv = p^T dout        ds = p (dout v^T - delta)        dq = ds k / sqrt(d)        dk = ds^T q / sqrt(d)

where delta = sum(dout * out) of a query. Directions get no gradient. Each sum is that of one block alone, in a fixed
order: two runs give the same bits.

Import this module only where Triton is installed.
"""

# Triton reads the annotations of kernels itself, so no `from __future__ import annotations` here.
import triton
import triton.language as tl

from .triton_kernel import _token

LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _factors(products, boost, offset, BOOSTED: tl.constexpr):
    """Return GGA's factors of inner products of extended directions."""
    if BOOSTED:
        products = tl.maximum(products, products * boost - offset)
    return products


@triton.jit
def gga_backward_queries(
    q,
    k,
    v,
    out,
    grad,
    grad_q,
    log_sums,
    deltas,
    extended_queries,
    extended_keys,
    stride_qb,
    stride_q,
    stride_kb,
    stride_k,
    stride_vb,
    stride_v,
    stride_ob,
    stride_o,
    stride_gb,
    stride_g,
    heads,
    scale,
    boost,
    offset,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    EXO_COLUMNS: tl.constexpr,
    EGO_COLUMNS: tl.constexpr,
    BOOSTED: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    EXTENDED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Write the gradient of one block of ego queries of one head, and their deltas.

    Grid (FRAMES * blocks of a frame's queries, batch * heads): a block is of one frame, so that each key has one
    direction. `out` and its gradient `grad` are as `q`; `grad_q` is a contiguous tensor of q's shape; `log_sums` and
    `deltas` are [B * heads, ego tokens] float32. All else as in `gga_forward`.
    """
    columns: tl.constexpr = EXO_COLUMNS + EGO_COLUMNS
    per_frame: tl.constexpr = ROWS * EGO_COLUMNS
    n_queries: tl.constexpr = FRAMES * per_frame
    n_exo: tl.constexpr = FRAMES * ROWS * EXO_COLUMNS
    n_keys: tl.constexpr = FRAMES * ROWS * columns
    blocks: tl.constexpr = (per_frame + BLOCK_M - 1) // BLOCK_M
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads * HEAD_DIM
    channel = tl.arange(0, HEAD_DIM)
    part = tl.arange(0, EXTENDED)

    frame = tl.program_id(0) // blocks
    place = tl.program_id(0) % blocks * BLOCK_M + tl.arange(0, BLOCK_M)  # in the frame
    here = place < per_frame
    index = frame * per_frame + place
    token = _token(index, EGO_COLUMNS, columns, EXO_COLUMNS)[:, None]
    query = tl.load(q + batch * stride_qb + token * stride_q + head + channel, mask=here[:, None], other=0.0)  # [M, D]
    d_out = tl.load(grad + batch * stride_gb + token * stride_g + head + channel, mask=here[:, None], other=0.0)
    result = tl.load(out + batch * stride_ob + token * stride_o + head + channel, mask=here[:, None], other=0.0)
    extended_query = tl.load(extended_queries + index[:, None] * EXTENDED + part, mask=here[:, None], other=0.0)
    row = tl.program_id(1).to(tl.int64) * n_queries + index
    log_sum = tl.load(log_sums + row, mask=here, other=0.0)[:, None]  # [M, 1]
    delta = tl.sum(d_out.to(tl.float32) * result.to(tl.float32), axis=1)  # [M]
    tl.store(deltas + row, delta, mask=here)
    delta = delta[:, None]
    k_head = k + batch * stride_kb + head
    v_head = v + batch * stride_vb + head

    sums = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    for start in range(0, n_exo, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        exists = key < n_exo
        at = _token(key, EXO_COLUMNS, columns, 0)[:, None]
        exo_k = tl.load(k_head + at * stride_k + channel, mask=exists[:, None], other=0.0)  # [N, D]
        logits = tl.where(exists, tl.dot(query, tl.trans(exo_k)) * scale - log_sum, float("-inf"))  # [M, N]
        at_direction = extended_keys + (frame * n_keys + at) * EXTENDED + part
        direction = tl.load(at_direction, mask=exists[:, None], other=0.0)  # [N, 16]
        weights = tl.exp2(logits) * _factors(tl.dot(extended_query, tl.trans(direction)), boost, offset, BOOSTED)
        exo_v = tl.load(v_head + at * stride_v + channel, mask=exists[:, None], other=0.0)  # [N, D]
        d_logits = weights * (tl.dot(d_out, tl.trans(exo_v)) - delta)
        sums = tl.dot(d_logits.to(exo_k.dtype), exo_k, sums)
    for start in range(0, n_queries, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        exists = key < n_queries
        at = _token(key, EGO_COLUMNS, columns, EXO_COLUMNS)[:, None]
        ego_k = tl.load(k_head + at * stride_k + channel, mask=exists[:, None], other=0.0)  # [N, D]
        weights = tl.exp2(tl.where(exists, tl.dot(query, tl.trans(ego_k)) * scale - log_sum, float("-inf")))  # [M, N]
        ego_v = tl.load(v_head + at * stride_v + channel, mask=exists[:, None], other=0.0)  # [N, D]
        d_logits = weights * (tl.dot(d_out, tl.trans(ego_v)) - delta)
        sums = tl.dot(d_logits.to(ego_k.dtype), ego_k, sums)

    width = heads * HEAD_DIM
    to = grad_q + (batch * (FRAMES * ROWS * columns) + token) * width + head + channel
    tl.store(to, (sums * (scale * LN_2)).to(grad_q.dtype.element_ty), mask=here[:, None])


@triton.jit
def gga_backward_keys(
    q,
    k,
    v,
    grad,
    grad_k,
    grad_v,
    log_sums,
    deltas,
    extended_queries,
    extended_keys,
    stride_qb,
    stride_q,
    stride_kb,
    stride_k,
    stride_vb,
    stride_v,
    stride_gb,
    stride_g,
    heads,
    scale,
    boost,
    offset,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    EXO_COLUMNS: tl.constexpr,
    EGO_COLUMNS: tl.constexpr,
    GUIDED: tl.constexpr,
    SHIFT: tl.constexpr,
    BOOSTED: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    EXTENDED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Write the gradients of one block of keys and values of one head, from all ego queries.

    Grid (blocks of keys, batch * heads), of exo keys where GUIDED and of ego keys where not. `grad_k` and `grad_v` are
    contiguous tensors of k's shape. SHIFT is the exponent that lifts weights in half precision clear of its smallest
    numbers. All else as in `gga_backward_queries`, which has to come first. Products stand transposed, keys by
    queries, so that the weights are where the next product takes them from.
    """
    columns: tl.constexpr = EXO_COLUMNS + EGO_COLUMNS
    n_queries: tl.constexpr = FRAMES * ROWS * EGO_COLUMNS
    own: tl.constexpr = EXO_COLUMNS if GUIDED else EGO_COLUMNS
    n_keys: tl.constexpr = FRAMES * ROWS * own
    n_tokens: tl.constexpr = FRAMES * ROWS * columns
    # The directions of the keys change from frame to frame of the queries.
    parts: tl.constexpr = FRAMES if GUIDED else 1
    per_part: tl.constexpr = n_queries // parts
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads * HEAD_DIM
    channel = tl.arange(0, HEAD_DIM)
    part = tl.arange(0, EXTENDED)

    key_index = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    exists = (key_index < n_keys)[:, None]
    token = _token(key_index, own, columns, 0 if GUIDED else EXO_COLUMNS)[:, None]
    key = tl.load(k + batch * stride_kb + token * stride_k + head + channel, mask=exists, other=0.0)  # [N, D]
    value = tl.load(v + batch * stride_vb + token * stride_v + head + channel, mask=exists, other=0.0)  # [N, D]
    q_head = q + batch * stride_qb + head
    grad_head = grad + batch * stride_gb + head
    first_row = tl.program_id(1).to(tl.int64) * n_queries

    k_sums = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    v_sums = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    for frame in range(0, parts):
        if GUIDED:
            at_direction = extended_keys + (frame * n_tokens + token) * EXTENDED + part
            direction = tl.load(at_direction, mask=exists, other=0.0)  # [N, 16]
        for start in range(0, per_part, BLOCK_M):
            place = start + tl.arange(0, BLOCK_M)
            here = place < per_part
            index = frame * per_part + place
            at = _token(index, EGO_COLUMNS, columns, EXO_COLUMNS)[:, None]
            query = tl.load(q_head + at * stride_q + channel, mask=here[:, None], other=0.0)  # [M, D]
            log_sum = tl.load(log_sums + first_row + index, mask=here, other=0.0)[None, :]  # [1, M]
            weights = tl.exp2(tl.dot(key, tl.trans(query)) * scale - (log_sum - SHIFT))  # [N, M]
            if GUIDED:
                at_query = extended_queries + index[:, None] * EXTENDED + part
                extended_query = tl.load(at_query, mask=here[:, None], other=0.0)  # [M, 16]
                weights *= _factors(tl.dot(direction, tl.trans(extended_query)), boost, offset, BOOSTED)
            d_out = tl.load(grad_head + at * stride_g + channel, mask=here[:, None], other=0.0)  # [M, D]
            v_sums = tl.dot(weights.to(d_out.dtype), d_out, v_sums)
            delta = tl.load(deltas + first_row + index, mask=here, other=0.0)[None, :]  # [1, M]
            d_logits = weights * (tl.dot(value, tl.trans(d_out)) - delta)  # [N, M]
            if SHIFT != 0:
                d_logits *= 2.0**-SHIFT
            k_sums = tl.dot(d_logits.to(query.dtype), query, k_sums)

    if SHIFT != 0:
        v_sums *= 2.0**-SHIFT
    to = (batch * (FRAMES * ROWS * columns) + token) * (heads * HEAD_DIM) + head + channel
    tl.store(grad_k + to, (k_sums * (scale * LN_2)).to(grad_k.dtype.element_ty), mask=exists)
    tl.store(grad_v + to, v_sums.to(grad_v.dtype.element_ty), mask=exists)
