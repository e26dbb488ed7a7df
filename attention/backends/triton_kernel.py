"""The fused kernel: attention of the ego queries to all keys, exponentials multiplied by GGA's factor.

One pass over the keys with a running maximum and sum, as in FlashAttention. The keys are one stream, the joined tokens
as they stand in memory; ego keys among them have the direction whose factor is exactly 1 (directions.py), so that
there is neither a division nor a branch a key. Blocks of keys that are whole have no masks; what is left over at the
end comes by itself. Queries are read, and results written, where they stand in the token grid.

Each block of queries is of one frame, whose directions the keys take. Blocks on the border of frames, which need the
directions of several, are a launch of their own: in one kernel they would cost every block their registers.

Import this module only where Triton is installed; `sdpa.py` is its readable twin.
"""

# Triton reads the annotations of kernels itself, so no `from __future__ import annotations` here.
import triton
import triton.language as tl


@triton.jit
def _token(index, per_row: tl.constexpr, columns: tl.constexpr, first_column: tl.constexpr):
    """Token of the query or key `index` of one view, whose columns begin at `first_column`."""
    return (index // per_row * columns + first_column + index % per_row).to(tl.int64)


@triton.jit
def quantized(values, axis: tl.constexpr):
    """Return values as int8 and their step: along an axis, or of all where it is None, the largest becomes 127."""
    largest = tl.max(tl.abs(values), axis=axis)
    step = tl.maximum(largest, 1e-30) / 127.0  # of nothing but zeros there is no 0 / 0
    scaled = values / (step[:, None] if axis is not None else step)
    return tl.floor(scaled + 0.5).to(tl.int8), step


@triton.jit
def _attend(
    query,
    extended_query,
    frame,
    first_frame,
    k_block,
    v_block,
    directions,
    exists,
    stride_k,
    stride_v,
    key_scale,
    scale,
    boost,
    offset,
    top,
    total,
    sums,
    FRAMES: tl.constexpr,
    N_KEYS: tl.constexpr,
    SPAN: tl.constexpr,
    SHIFT: tl.constexpr,
    BOOSTED: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    EXTENDED: tl.constexpr,
    BLOCK_N: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """Fold one block of keys into the running maximum, sum of weights and weighted sum of values.

    `k_block`, `v_block` and `directions` point to the block's first key, `key_scale` to what its keys were divided by,
    or it is None. Products are scaled where the exponential is taken, in one multiply-add.
    """
    lane = tl.arange(0, BLOCK_N)[:, None]
    channel = tl.arange(0, HEAD_DIM)[None, :]
    part = tl.arange(0, EXTENDED)[None, :]
    if WHOLE:
        k = tl.load(k_block + (lane * stride_k + channel))  # [N, D]
    else:
        k = tl.load(k_block + (lane * stride_k + channel), mask=exists[:, None], other=0)
    products = tl.dot(query, tl.trans(k)).to(tl.float32)  # [M, N]; of integers int32
    if not WHOLE:
        products = tl.where(exists, products, float("-inf"))
    if key_scale is not None:
        scale *= tl.load(key_scale)
    of_first = extended_query
    if SPAN > 1:
        of_first = tl.where((frame == first_frame)[:, None], extended_query, 0.0)
    if WHOLE:
        direction = tl.load(directions + (lane * EXTENDED + part))  # [N, 16]
    else:
        direction = tl.load(directions + (lane * EXTENDED + part), mask=exists[:, None], other=0.0)
    factors = tl.dot(of_first, tl.trans(direction))  # [M, N]
    for later in tl.static_range(1, SPAN):
        at = directions + later * (N_KEYS * EXTENDED) + (lane * EXTENDED + part)
        is_there = first_frame + later < FRAMES
        direction = tl.load(at, mask=exists[:, None] & is_there, other=0.0)
        of_frame = tl.where((frame == first_frame + later)[:, None], extended_query, 0.0)
        factors = tl.dot(of_frame, tl.trans(direction), factors)
    if BOOSTED:
        factors = tl.maximum(factors, factors * boost - offset)
    new_top = tl.maximum(top, tl.max(products, axis=1) * scale)  # [M]
    weights = tl.exp2(products * scale[:, None] - (new_top - SHIFT)[:, None]) * factors  # [M, N]
    kept = tl.exp2(top - new_top)  # [M]
    total = total * kept + tl.sum(weights, axis=1)
    if WHOLE:
        v = tl.load(v_block + (lane * stride_v + channel))  # [N, D]
    else:
        v = tl.load(v_block + (lane * stride_v + channel), mask=exists[:, None], other=0.0)
    sums = tl.dot(weights.to(v.dtype), v, sums * kept[:, None])  # [M, D]
    return new_top, total, sums


@triton.jit
def gga_forward(
    q,
    k,
    v,
    out,
    extended_queries,
    extended_keys,
    key_scales,
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
    BORDERS: tl.constexpr,
    SHIFT: tl.constexpr,
    BOOSTED: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    EXTENDED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Write the attention of one block of ego queries of one head; grid (blocks, batch * heads).

    Where SPAN is 1 the blocks are those of all queries, and those that are of two frames write nothing; where BORDERS,
    they are those at which the frames after the first begin; else all, each of up to SPAN frames.

    `q`, `k`, `v` and `out` are [B, n_tokens, heads * HEAD_DIM] with strides of batch and token and a contiguous last
    axis; `extended_queries` [ego tokens, EXTENDED] and `extended_keys` [FRAMES, n_tokens, EXTENDED] are float16.
    `key_scales` [B * heads, blocks of keys] float32 is what keys in int8 were divided by, and then queries are made
    int8 here, each by a step of its own; None where keys are as the model made them.
    `log_sums` [B * heads, ego tokens] float32 gets the base-2 logarithm of each query's sum of exponentials, for the
    backward pass; None leaves it and its code out.
    `scale` is log2(e) / sqrt(HEAD_DIM), for exponentials are powers of two here; `boost` and `offset` are those of
    ExtendedDirections. The sizes of TokenLayout are constants, as divisions by constants are cheap. SHIFT is the
    exponent that lifts weights in half precision clear of its smallest numbers.
    """
    columns: tl.constexpr = EXO_COLUMNS + EGO_COLUMNS
    per_frame: tl.constexpr = ROWS * EGO_COLUMNS
    n_queries: tl.constexpr = FRAMES * per_frame
    n_keys: tl.constexpr = FRAMES * ROWS * columns
    n_whole: tl.constexpr = n_keys // BLOCK_N
    block = tl.program_id(0)
    if BORDERS:
        block = (block + 1) * per_frame // BLOCK_M
    first = block * BLOCK_M
    first_frame = first // per_frame
    is_of_one = first_frame == tl.minimum(first + BLOCK_M - 1, n_queries - 1) // per_frame
    if SPAN == 1:
        if not is_of_one:
            return
    if BORDERS:
        if is_of_one:
            return
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads * HEAD_DIM
    channel = tl.arange(0, HEAD_DIM)
    part = tl.arange(0, EXTENDED)

    index = first + tl.arange(0, BLOCK_M)  # of the ego query, frames one after the other
    here = (index < n_queries)[:, None]
    frame = index // per_frame
    token = _token(index, EGO_COLUMNS, columns, EXO_COLUMNS)
    query = tl.load(q + batch * stride_qb + token[:, None] * stride_q + head + channel, mask=here, other=0.0)  # [M, D]
    scales = tl.full([BLOCK_M], 0.0, tl.float32) + scale  # [M]
    key_scale = None
    if key_scales is not None:
        query, steps = quantized(query.to(tl.float32), 1)
        scales *= steps
        key_scale = key_scales + tl.program_id(1) * tl.cdiv(n_keys, BLOCK_N)
    extended_query = tl.load(extended_queries + index[:, None] * EXTENDED + part, mask=here, other=0.0)  # [M, 16]
    k_block = k + batch * stride_kb + head
    v_block = v + batch * stride_vb + head
    directions = extended_keys + first_frame * (n_keys * EXTENDED)

    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    sums = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    every = tl.arange(0, BLOCK_N) >= 0
    exists = tl.arange(0, BLOCK_N) < n_keys - n_whole * BLOCK_N
    for _ in range(0, n_whole):
        top, total, sums = _attend(
            query, extended_query, frame, first_frame, k_block, v_block, directions, every, stride_k, stride_v,
            key_scale, scales, boost, offset, top, total, sums,
            FRAMES, n_keys, SPAN, SHIFT, BOOSTED, HEAD_DIM, EXTENDED, BLOCK_N, True,
        )  # fmt: skip
        k_block += BLOCK_N * stride_k
        v_block += BLOCK_N * stride_v
        directions += BLOCK_N * EXTENDED
        if key_scales is not None:
            key_scale += 1
    if n_whole * BLOCK_N < n_keys:
        top, total, sums = _attend(
            query, extended_query, frame, first_frame, k_block, v_block, directions, exists, stride_k, stride_v,
            key_scale, scales, boost, offset, top, total, sums,
            FRAMES, n_keys, SPAN, SHIFT, BOOSTED, HEAD_DIM, EXTENDED, BLOCK_N, False,
        )  # fmt: skip

    result = (sums / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + batch * stride_ob + token[:, None] * stride_o + head + channel, result, mask=here)
    if log_sums is not None:
        log_sum = top + tl.log2(total) - SHIFT  # [M]
        tl.store(log_sums + tl.program_id(1).to(tl.int64) * n_queries + index, log_sum, mask=index < n_queries)
