"""The fused kernel in a training: one autograd function, whose backward pass is two more kernels.

It keeps queries, keys, values and result, which a training holds anyway, and 4 bytes a query and head: no bias and no
attention weights, which the backward pass computes anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..call import AttentionCall
from ..directions import ExtendedDirections
from ..layout import TokenLayout
from .triton_launch import (
    WEIGHTS_TOP,
    blocks,
    launch,
    logit_scale,
    sizes,
    with_contiguous_channels,
)
from .triton_tiles import Tile, capability_of


def attend_with_gradients(call: AttentionCall, out: Tensor, tile: Tile | None = None) -> None:
    """Write the attention of the ego queries into the ego tokens of `out`, which autograd follows; see `attend`."""
    _GuidedAttention.apply(call.q, call.k, call.v, out, call, tile)


def backward_tiles(capability: int, head_dim: int) -> tuple[Tile, Tile]:
    """Return the tiles of the two backward kernels, of queries and of keys, for a compute capability such as 89.

    Of those that were compiled they need the fewest instructions a pair, without spilled registers in their loops, and
    fit the shared memory: 163 KB and more on 80, 90 and 100, else 99 KB.
    """
    if head_dim == 64:
        return Tile(128, 64, 8, 2), Tile(64, 64, 4, 2)
    if capability == 80:
        return Tile(64, 64, 4, 2), Tile(32, 64, 4, 2)
    if capability == 90:
        return Tile(128, 64, 8, 2), Tile(32, 128, 8, 2)
    return Tile(128, 64 if capability == 100 else 32, 8, 2), Tile(64, 64, 8, 2)


class _GuidedAttention(torch.autograd.Function):
    """Attention of the ego queries, written into the ego tokens of a tensor that may have a history."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, out: Tensor, call: AttentionCall, tile: Tile | None
    ) -> Tensor:
        log_sums = q.new_empty(len(q) * call.heads, _ego_tokens(call.layout), dtype=torch.float32)
        launch(call, out, log_sums, tile)
        # Not the call itself: it would hold on to tensors that gradient checkpointing lets go.
        ctx.heads, ctx.layout, ctx.extended = call.heads, call.layout, call.extended
        ctx.mark_dirty(out)
        ctx.save_for_backward(q, k, v, out, log_sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sums = ctx.saved_tensors
        try:
            grads = gradients(q, k, v, out, grad, log_sums, ctx.heads, ctx.layout, ctx.extended)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # compilers of kernels fail in many ways
            raise RuntimeError(
                "GGA's back end 'triton' computed the attention, but its backward pass failed on this machine "
                f"({type(error).__name__}). Choose 'flex' or 'sdpa' for the training."
            ) from error
        before = None
        if ctx.needs_input_grad[3]:  # what the ego tokens held before is gone
            before = grad.clone()
            ctx.layout.as_grid(before)[:, :, :, ctx.layout.exo_columns :] = 0
        return *grads, before, None, None


def gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    grad: Tensor,
    log_sums: Tensor,
    heads: int,
    layout: TokenLayout,
    extended: ExtendedDirections,
    tiles: tuple[Tile, Tile] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the kernels of the backward pass.

    Args:
        q: of the forward pass, [B, n_tokens, heads * d].
        k: likewise.
        v: likewise.
        out: its result, of the same shape.
        grad: gradient of `out`; that of exo tokens is not looked at.
        log_sums: [B * heads, ego tokens] float32, as the forward pass left them.
        heads: number of heads.
        layout: order of the tokens.
        extended: directions with the bias folded in.
        tiles: of queries and of keys; default to those that fit the GPU.

    Returns:
        Gradients of q (zero for exo tokens), k and v, of their shapes and types.
    """
    from .triton_backward_kernel import gga_backward_keys, gga_backward_queries

    q, k, v, grad = (with_contiguous_channels(x) for x in (q, k, v, grad))
    head_dim = q.shape[-1] // heads
    of_queries, of_keys = tiles or _tiles_for(q, head_dim)
    grad_q = torch.zeros_like(q, memory_format=torch.contiguous_format)
    grad_k, grad_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (k, v))
    deltas = torch.empty_like(log_sums)
    directions = extended.split_queries, extended.joined_keys(layout)
    numbers = heads, logit_scale(head_dim), extended.boost, extended.offset
    constants = sizes(layout, extended, head_dim)
    with torch.cuda.device_of(q):
        blocks_of_queries = layout.frames * -(-layout.ego_tokens_per_frame // of_queries.queries)
        gga_backward_queries[(blocks_of_queries, len(q) * heads)](
            *(q, k, v, out, grad, grad_q, log_sums, deltas, *directions),
            *(stride for x in (q, k, v, out, grad) for stride in x.stride()[:2]),
            *numbers,
            **constants,
            **blocks(of_queries),
        )
        for guided, n_keys in ((True, layout.exo_tokens), (False, _ego_tokens(layout))):
            gga_backward_keys[(-(-n_keys // of_keys.keys), len(q) * heads)](
                *(q, k, v, grad, grad_k, grad_v, log_sums, deltas, *directions),
                *(stride for x in (q, k, v, grad) for stride in x.stride()[:2]),
                *numbers,
                **constants,
                GUIDED=guided,
                SHIFT=float(WEIGHTS_TOP) if q.dtype == torch.float16 else 0.0,
                **blocks(of_keys),
            )
    return grad_q, grad_k, grad_v


def _ego_tokens(layout: TokenLayout) -> int:
    return layout.frames * layout.ego_tokens_per_frame


def _tiles_for(q: Tensor, head_dim: int) -> tuple[Tile, Tile]:
    if q.device.type != "cuda":
        return Tile(32, 32, 4, 1), Tile(32, 32, 4, 1)
    return backward_tiles(capability_of(q.device), head_dim)
