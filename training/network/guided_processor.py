"""GGA in diffusers' Wan: the processor of every block's self-attention.

It takes the back ends of `attention`, which are those of the nodes.
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
        attended = [
            gga_attention(
                AttentionCall(*one, attn.heads, self.layout, directions, self.guidance.bias),
                plain_attention,
                self.guidance.backend,
            )
            for *one, directions in zip(query.split(1), key.split(1), value.split(1), self.directions, strict=True)
        ]
        return attn.to_out[1](attn.to_out[0](torch.cat(attended)))


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


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Return torch's attention of `[B, n, heads * d]` tensors: what the exo queries get."""
    query, key, value = (rearrange(x, "b n (heads d) -> b heads n d", heads=heads) for x in (q, k, v))
    return rearrange(scaled_dot_product_attention(query, key, value), "b heads n d -> b n (heads d)")
