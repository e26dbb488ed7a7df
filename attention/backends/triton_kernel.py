"""The fused kernel: attention of the ego queries to all keys, exponentials of exo keys multiplied by GGA's factor.

One pass over the keys with a running maximum and sum, as in FlashAttention. Exo keys come first, each with its factor
g (directions.py), then ego keys without one. Queries and keys are read where they stand in the joined token
grid, and the result is written there: nothing is gathered, copied or held beside it.

Import this module only where Triton is installed; `sdpa.py` is its readable twin.
"""

# Triton reads the annotations of kernels itself, so no `from __future__ import annotations` here.
import triton
import triton.language as tl


@triton.jit
def _online_softmax(logits, factors, values, top, total, sums, SHIFT: tl.constexpr, GUIDED: tl.constexpr):
    """Fold one block of keys into the running maximum, sum of weights and weighted sum of values."""
    new_top = tl.maximum(top, tl.max(logits, axis=1))  # [M]
    weights = tl.exp2(logits - (new_top - SHIFT)[:, None])  # [M, N]
    if GUIDED:
        weights *= factors
    kept = tl.exp2(top - new_top)  # [M]
    total = total * kept + tl.sum(weights, axis=1)
    sums = tl.dot(weights.to(values.dtype), values, sums * kept[:, None])  # [M, D]
    return new_top, total, sums


@triton.jit
def _token(index, per_row: tl.constexpr, columns: tl.constexpr, first_column: tl.constexpr):
    """Token of the query or key `index` of one view, whose columns begin at `first_column`."""
    return (index // per_row * columns + first_column + index % per_row).to(tl.int64)


@triton.jit
def _exo_keys(
    query,
    extended_query,
    frame,
    first_frame,
    k_head,
    v_head,
    extended_keys,
    stride_k,
    stride_v,
    scale,
    boost,
    offset,
    top,
    total,
    sums,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    EXO_COLUMNS: tl.constexpr,
    EGO_COLUMNS: tl.constexpr,
    SPAN: tl.constexpr,
    SHIFT: tl.constexpr,
    BOOSTED: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    EXTENDED: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Attend to all exo keys. Where the queries are of SPAN frames, keys have as many directions."""
    channel = tl.arange(0, HEAD_DIM)
    part = tl.arange(0, EXTENDED)
    n_keys: tl.constexpr = FRAMES * ROWS * EXO_COLUMNS
    for start in range(0, n_keys, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        exists = key < n_keys
        token = _token(key, EXO_COLUMNS, EXO_COLUMNS + EGO_COLUMNS, 0)
        k = tl.load(k_head + token[:, None] * stride_k + channel, mask=exists[:, None], other=0.0)  # [N, D]
        logits = tl.where(exists, tl.dot(query, tl.trans(k)) * scale, float("-inf"))  # [M, N]
        at = extended_keys + (first_frame * n_keys + key)[:, None] * EXTENDED + part
        direction = tl.load(at, mask=exists[:, None], other=0.0)  # [N, 16]
        if SPAN == 1:
            x = tl.dot(extended_query, tl.trans(direction))  # [M, N]
        else:
            x = tl.dot(tl.where((frame == first_frame)[:, None], extended_query, 0.0), tl.trans(direction))
            for later in tl.static_range(1, SPAN):
                other = first_frame + later
                at = extended_keys + (other * n_keys + key)[:, None] * EXTENDED + part
                direction = tl.load(at, mask=exists[:, None] & (other < FRAMES), other=0.0)
                x = tl.dot(tl.where((frame == other)[:, None], extended_query, 0.0), tl.trans(direction), x)
        if BOOSTED:
            x = tl.maximum(x, x * boost - offset)
        v = tl.load(v_head + token[:, None] * stride_v + channel, mask=exists[:, None], other=0.0)  # [N, D]
        top, total, sums = _online_softmax(logits, x, v, top, total, sums, SHIFT, True)
    return top, total, sums


@triton.jit
def gga_forward(
    q,
    k,
    v,
    out,
    extended_queries,
    extended_keys,
    log_sums,
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
    boost,
    offset,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    EXO_COLUMNS: tl.constexpr,
    EGO_COLUMNS: tl.constexpr,
    SPAN: tl.constexpr,
    SHIFT: tl.constexpr,
    BOOSTED: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    EXTENDED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Write the attention of one block of ego queries of one head; grid (blocks of queries, batch * heads).

    `q`, `k`, `v` and `out` are [B, n_tokens, heads * HEAD_DIM] with strides of batch and token and a contiguous last
    axis; `extended_queries` [ego tokens, EXTENDED] and `extended_keys` [FRAMES, exo tokens, EXTENDED] are float16.
    `log_sums` [B * heads, ego tokens] float32 gets the base-2 logarithm of each query's sum of exponentials, for the
    backward pass; None leaves it and its code out.
    `scale` is log2(e) / sqrt(HEAD_DIM), for exponentials are powers of two here; `boost` and `offset` are those of
    ExtendedDirections. The sizes of TokenLayout are constants, as divisions by constants are cheap. The queries of a
    block can be of SPAN frames. SHIFT is the exponent that lifts weights in half precision clear of its smallest
    numbers.
    """
    columns: tl.constexpr = EXO_COLUMNS + EGO_COLUMNS
    per_frame: tl.constexpr = ROWS * EGO_COLUMNS
    n_queries: tl.constexpr = FRAMES * per_frame
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads * HEAD_DIM
    channel = tl.arange(0, HEAD_DIM)
    part = tl.arange(0, EXTENDED)

    first = tl.program_id(0) * BLOCK_M
    index = first + tl.arange(0, BLOCK_M)  # of the ego query, frames one after the other
    here = (index < n_queries)[:, None]
    frame = index // per_frame
    first_frame = first // per_frame
    last_frame = tl.minimum(first + BLOCK_M - 1, n_queries - 1) // per_frame
    token = _token(index, EGO_COLUMNS, columns, EXO_COLUMNS)
    query = tl.load(q + batch * stride_qb + token[:, None] * stride_q + head + channel, mask=here, other=0.0)  # [M, D]
    extended_query = tl.load(extended_queries + index[:, None] * EXTENDED + part, mask=here, other=0.0)  # [M, 16]
    k_head = k + batch * stride_kb + head
    v_head = v + batch * stride_vb + head

    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    sums = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    # Only a block on the border of frames pays for several directions a key.
    if first_frame == last_frame:
        top, total, sums = _exo_keys(
            query, extended_query, frame, first_frame, k_head, v_head, extended_keys, stride_k, stride_v,
            scale, boost, offset, top, total, sums,
            FRAMES, ROWS, EXO_COLUMNS, EGO_COLUMNS, 1, SHIFT, BOOSTED, HEAD_DIM, EXTENDED, BLOCK_N,
        )  # fmt: skip
    else:
        top, total, sums = _exo_keys(
            query, extended_query, frame, first_frame, k_head, v_head, extended_keys, stride_k, stride_v,
            scale, boost, offset, top, total, sums,
            FRAMES, ROWS, EXO_COLUMNS, EGO_COLUMNS, SPAN, SHIFT, BOOSTED, HEAD_DIM, EXTENDED, BLOCK_N,
        )  # fmt: skip
    for start in range(0, n_queries, BLOCK_N):
        key = start + tl.arange(0, BLOCK_N)
        exists = key < n_queries
        at = _token(key, EGO_COLUMNS, columns, EXO_COLUMNS)[:, None]
        ego_k = tl.load(k_head + at * stride_k + channel, mask=exists[:, None], other=0.0)  # [N, D]
        logits = tl.where(exists, tl.dot(query, tl.trans(ego_k)) * scale, float("-inf"))  # [M, N]
        ego_v = tl.load(v_head + at * stride_v + channel, mask=exists[:, None], other=0.0)  # [N, D]
        top, total, sums = _online_softmax(logits, logits, ego_v, top, total, sums, SHIFT, False)

    result = (sums / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + batch * stride_ob + token[:, None] * stride_o + head + channel, result, mask=here)
    if log_sums is not None:
        log_sum = top + tl.log2(total) - SHIFT  # [M]
        tl.store(log_sums + tl.program_id(1).to(tl.int64) * n_queries + index, log_sum, mask=index < n_queries)
