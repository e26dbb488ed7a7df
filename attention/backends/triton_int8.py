"""Back end `triton_int8`: the fused kernel with queries and keys in int8, after SageAttention.

Softmax does not see what all keys of a query share: q (k - m) differs from q k by q m, whichever the key, and GGA's
bias is added as before. So keys lose their mean, which in transformers is most of them, and what is left is rounded
well by int8. Keys have a step a block, queries one each, products are summed as int32, and weights and values are
float16 (Zhang et al., SageAttention, arXiv 2410.02367, and SageAttention 2, arXiv 2411.10958).

Keys are prepared some heads at a time; this is what it takes beside the other kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..call import AttentionCall
from ..chunks import full_heads
from . import triton as half_precision
from .backend import Backend
from .triton_launch import launch_prepared, with_contiguous_channels
from .triton_tiles import Tile, int8_tile_for

# Of keys and values that are prepared at a time: eight heads of EgoX's size.
PREPARED_BYTES = 96 << 20
# Of results: 0.01 to 0.02 root mean square for those of the tests, a sixth less than SageAttention's own.
ERROR = 0.05
_BYTES = 1 + 2  # of a channel of a key in int8 and of its value in float16


def unsupported(call: AttentionCall) -> str | None:
    """Return why the kernel cannot take a call, or None."""
    if (reason := half_precision.unsupported(call)) is not None:
        return reason
    return "it rounds queries and keys, and has no backward pass" if call.needs_grad else None


def attend(call: AttentionCall, out: Tensor, tile: Tile | None = None) -> None:
    """Write the attention of the ego queries to all keys into the ego tokens of `out`; see `Backend`."""
    from .triton_int8_kernel import gga_quantize

    q, k, v = (with_contiguous_channels(x) for x in (call.q, call.k, call.v))
    batch, n_tokens, width = k.shape
    tile = tile or int8_tile_for(q.device)
    means = k.mean(dim=1, dtype=torch.float32)  # [B, heads * d]
    heads = _heads_at_a_time(call)
    channels = heads * call.head_dim
    whole_k, half_v = (k.new_empty(batch, n_tokens, channels, dtype=dtype) for dtype in (torch.int8, torch.float16))
    blocks = -(-n_tokens // tile.keys)
    key_scales = k.new_empty(batch * heads, blocks, dtype=torch.float32)
    for first in range(0, width, channels):
        # The last share may be smaller.
        size = min(channels, width - first)
        some_q, some_k, some_v, some_out = (x.narrow(2, first, size) for x in (q, k, v, out))
        scales = key_scales[: batch * size // call.head_dim]
        with torch.cuda.device_of(q):
            gga_quantize[blocks, len(scales)](
                *(some_k, some_v, means[:, first:], whole_k, scales, half_v),
                *(stride for x in (some_k, some_v) for stride in x.stride()[:2]),
                means.stride(0),
                *whole_k.stride()[:2],
                size // call.head_dim,
                N_KEYS=n_tokens,
                HEAD_DIM=call.head_dim,
                BLOCK_N=tile.keys,
            )
        launch_prepared(call, some_q, whole_k[..., :size], half_v[..., :size], some_out, tile, scales)


def _heads_at_a_time(call: AttentionCall) -> int:
    batch, n_tokens = call.k.shape[:2]
    most = PREPARED_BYTES / (batch * n_tokens * call.head_dim * _BYTES)
    return full_heads(call.heads, batch, call.layout.ego_tokens, most, call.processors)


BACKEND = Backend(
    "the triton kernel with queries and keys in int8, as coarse as SageAttention; never chosen by auto; 100 MB more",
    attend,
    unsupported,
    automatic=False,
    error=ERROR,
)
