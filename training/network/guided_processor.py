"""GGA in diffusers' Wan: the processor of every block's self-attention.

It takes the back ends of `attention`, which are those of the nodes. Clips that are so small that their dense bias fits
many times go through torch's attention all at once: a call for each would take longer to launch than to compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...attention.bias import GGABias
from ...attention.call import AttentionCall
from ...attention.choice import AUTO
from ...attention.directions import TokenDirections
from ...attention.guided_attention import gga_attention
from ...attention.layout import TokenLayout

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

# Of the dense bias of a batch, which stays until the next one: larger clips take the back ends, which keep none.
_MASK_BYTES = 64 << 20


@dataclass(frozen=True)
class Guidance:
    """How GGA acts in a training.

    Attributes:
        bias: form and lambda.
        backend: who computes the attention of the ego queries.
    """

    bias: GGABias
    backend: str = AUTO


class GuidedSelfAttention:
    """Attention processor of Wan's self-attention, one for all blocks.

    `layout` and `directions` are those of the forward pass in progress: the backward pass, which under gradient
    checkpointing runs the blocks again, has to come before the next forward pass.

    Attributes:
        guidance: how GGA acts.
        layout: order of the tokens.
        directions: of every clip of the batch.
    """

    def __init__(self, guidance: Guidance) -> None:
        self.guidance = guidance
        self.layout: TokenLayout | None = None
        self.directions: Sequence[TokenDirections] = ()
        self._masked: Sequence[TokenDirections] | None = None  # the directions of `_mask`
        self._mask = torch.empty(0)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the self-attention of tokens [B, n_tokens, heads * d]."""
        assert self.layout is not None
        assert rotary_emb is not None
        value = attn.to_v(hidden_states)
        query = rotated(attn.norm_q(attn.to_q(hidden_states)), attn.heads, rotary_emb).to(value.dtype)
        key = rotated(attn.norm_k(attn.to_k(hidden_states)), attn.heads, rotary_emb).to(value.dtype)
        attended = self._attended(query, key, value, attn.heads)
        return attn.to_out[1](attn.to_out[0](attended))

    def _attended(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        layout, (bias, backend) = self.layout, (self.guidance.bias, self.guidance.backend)
        assert layout is not None
        mask_bytes = len(query) * layout.n_tokens**2 * query.element_size()
        if len(query) > 1 and backend == AUTO and mask_bytes <= _MASK_BYTES:
            if self._masked is not self.directions:  # the same in all blocks
                self._mask = bias_of_batch(layout, self.directions, bias).to(query.dtype)
                self._masked = self.directions
            return plain_attention(query, key, value, heads, self._mask)
        each = zip(query.split(1), key.split(1), value.split(1), self.directions, strict=True)
        calls = (AttentionCall(*one, heads, layout, directions, bias) for *one, directions in each)
        return torch.cat([gga_attention(call, plain_attention, backend) for call in calls])


def install(network: WanTransformer3DModel, guidance: Guidance) -> GuidedSelfAttention:
    """Put GGA into the self-attention of every block of a transformer, in place; returns what guides it."""
    processor = GuidedSelfAttention(guidance)
    for block in network.blocks:
        block.attn1.set_processor(processor)
    return processor


def rotated(tokens: Tensor, heads: int, rotary_emb: tuple[Tensor, Tensor]) -> Tensor:
    """Return queries or keys [B, n, heads * d] turned by their positions.

    Args:
        tokens: after their norm.
        heads: number of heads.
        rotary_emb: cosines and sines [1, n, 1, d], each angle twice.
    """
    cosine, sine = rotary_emb
    pairs = rearrange(tokens, "b n (heads d two) -> b n heads d two", heads=heads, two=2)
    x, y = pairs.unbind(-1)
    cosine, sine = cosine[..., 0::2], sine[..., 1::2]  # [1, n, 1, d / 2]
    turned = torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=-1)
    return rearrange(turned, "b n heads d two -> b n (heads d two)").type_as(tokens)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Return torch's attention of `[B, n, heads * d]` tensors; where exo queries go by themselves, without a bias.

    Args:
        q: queries.
        k: keys.
        v: values.
        heads: number of heads.
        bias: of every pair of tokens [B, n, n].
    """
    query, key, value = (rearrange(x, "b n (heads d) -> b heads n d", heads=heads) for x in (q, k, v))
    mask = None if bias is None else bias[:, None]
    attended = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return rearrange(attended, "b heads n d -> b n (heads d)")


def bias_of_batch(layout: TokenLayout, directions: Sequence[TokenDirections], bias: GGABias) -> Tensor:
    """Return the bias of every pair of tokens of every clip, [B, n_tokens, n_tokens]; see `reference.dense_bias`."""
    queries = torch.stack([one.ego_queries for one in directions]).flatten(2, 3)  # [B, T, rows * ego columns, 3]
    keys = torch.stack([one.exo_keys for one in directions]).flatten(2, 4)  # [B, T, T * rows * exo columns, 3]
    pairs = bias(queries, keys)
    grid = (layout.frames, layout.rows, layout.columns)
    full = pairs.new_zeros(len(pairs), *grid, *grid)
    exo, (frames, rows, _) = layout.exo_columns, grid
    full[:, :, :, exo:, :, :, :exo] = pairs.view(-1, frames, rows, layout.ego_columns, frames, rows, exo)
    return full.view(len(pairs), layout.n_tokens, layout.n_tokens)
