"""Self-attention with GGA: exo queries to plain attention, ego queries to a back end that knows the bias.

Both write into one result. Exo queries have to be gathered, and at EgoX's size all of them and their result would take
365 MB a clip beside it: so they go a few heads at a time. Attention of a head does not depend on the other heads, and
attention that prepares its keys at every call (sage, sage3 and comfy-kitchen quantise them) so prepares each head's
keys once or a few times, as without GGA; in chunks of queries it would prepare all keys again for every chunk. A head's
queries are divided where a single head is too large, or where a GPU's processors would else wait (chunks.py).

In a training what is gathered stays for the backward pass anyway, and each part's gradient would be written among zeros
of the whole size: there all heads go at once.

Ego queries could also go twice through plain attention's kernels, to exo and to ego keys, and be merged by log-sum-exp.
But neither ComfyUI's attention functions nor the overrides of other packs return that sum, and the fused kernel, which
meets both kinds of keys in one pass, has nothing to merge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from einops import rearrange
from torch import Tensor

from .call import AttentionCall
from .choice import AUTO, ego_attention
from .chunks import Share, even_share, full_share

PlainAttention = Callable[[Tensor, Tensor, Tensor, int], Tensor]

# Of exo queries at a time: with their result and the directions under 64 MB.
_EXO_BYTES = 22 << 20


def gga_attention(call: AttentionCall, plain_attention: PlainAttention, backend: str = AUTO) -> Tensor:
    """Return self-attention over the joined tokens with GGA's bias.

    Args:
        call: queries, keys and values, and what guides them.
        plain_attention: `(q, k, v, heads) -> out` on the same kind of tensors, for the exo queries, which have no
            bias. It gets some of the heads: their exo queries [B, n, some heads * d], contiguous, and views of all
            their keys and values [B, n_tokens, some heads * d].
        backend: name of who computes the attention of the ego queries.

    Returns:
        [B, n_tokens, heads * d].
    """
    out = torch.empty_like(call.q, memory_format=torch.contiguous_format)
    _attend_exo(call, plain_attention, out)
    ego_attention(call, out, backend)
    return out


def gga_attention_of_ego(call: AttentionCall, backend: str = AUTO) -> Tensor:
    """Return what the ego queries alone attend to: [B, ego_tokens, heads * d].

    Args:
        call: as of both views; the exo queries are not looked at.
        backend: name of who computes it.
    """
    out = torch.empty_like(call.q, memory_format=torch.contiguous_format)
    ego_attention(call, out, backend)
    return call.layout.ego(out)


def _attend_exo(call: AttentionCall, plain_attention: PlainAttention, out: Tensor) -> None:
    """Write plain attention of the exo queries to all keys into the exo tokens of `out`."""
    q, layout, head_dim = call.q, call.layout, call.head_dim
    queries, results = (layout.as_rows(x)[:, :, : layout.exo_columns] for x in (q, out))
    heads_at_once, rows = _share(call, queries)
    parts = (_parts(x, heads_at_once * head_dim, -1) for x in (queries, call.k, call.v, results))
    for query, key, value, result in zip(*parts, strict=True):
        for chunk, place in zip(_parts(query, rows, 1), _parts(result, rows, 1), strict=True):
            gathered = rearrange(chunk, "b row column c -> b (row column) c").contiguous()
            attended = plain_attention(gathered, key, value, chunk.shape[-1] // head_dim)
            place.copy_(rearrange(attended, "b (row column) c -> b row column c", row=chunk.shape[1]))
            del attended  # before the next chunk is gathered


def _share(call: AttentionCall, queries: Tensor) -> Share:
    """Return how many heads and rows of exo queries [B, rows, columns, heads * d] go at a time."""
    heads, rows = call.heads, queries.shape[1]
    if call.needs_grad:
        return Share(heads, rows)
    most = _EXO_BYTES / (queries[..., : call.head_dim].numel() * queries.element_size())
    if call.processors is None:
        return even_share(heads, rows, most)
    return full_share(heads, len(queries), rows, queries.shape[2], most, call.processors)


def _parts(x: Tensor, size: int, axis: int) -> Iterator[Tensor]:
    """Give a tensor's parts of a size; unlike those of `split` autograd lets them be written into."""
    for first in range(0, x.shape[axis], size):
        yield x.narrow(axis, first, min(size, x.shape[axis] - first))
