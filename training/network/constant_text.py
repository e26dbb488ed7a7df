"""Cross-attention that adds a constant: for small models that are told nothing by text and CLIP.

A block's cross-attention ends in a linear layer. Where that layer's weight is zero, what it adds is its bias, whatever
text and image features say. So only the bias is trained, and neither text nor features cost anything; the stock
network, with the same weights, computes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel


class ConstantAttention:
    """Attention processor that returns the bias of the output layer for every token [B, n_tokens, width]."""

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return the bias, as large as the tokens."""
        return attn.to_out[0].bias.expand_as(hidden_states)


@torch.no_grad()
def ignore_text(network: WanTransformer3DModel) -> None:
    """Make a transformer deaf to text and CLIP features, in place; of those parts only the constant stays trainable."""
    network.condition_embedder.text_embedder.requires_grad_(False)
    if network.condition_embedder.image_embedder is not None:
        network.condition_embedder.image_embedder.requires_grad_(False)
    for block in network.blocks:
        attention = block.attn2
        attention.requires_grad_(False)
        block.norm2.requires_grad_(False)
        output = attention.to_out[0]
        output.weight.zero_()
        output.bias.requires_grad_(True)
        attention.set_processor(ConstantAttention())
