"""A transformer that begins with the best linear guess in place of random numbers.

At noise levels near 1 the velocity is nearly the input less the true view, and the prior is a good guess of that view.
A random network takes many steps to find that out. Here the patch embedding keeps all that a token holds, the blocks
add nothing yet, and the last layer is fitted in closed form: the training begins at "copy the prior".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

from ...common.wan_grid import PATCH
from ..data.clips import ClipBatch
from ..network.egox import EgoX, noised

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

_RIDGE = 1e-3  # of the mean square of a feature


@torch.no_grad()
def start_quiet(transformer: WanTransformer3DModel) -> None:
    """Let the blocks add nothing and the patch embedding keep everything, in place."""
    patches = transformer.patch_embedding
    weight = torch.empty_like(patches.weight.flatten(1))
    patches.weight.copy_(nn.init.orthogonal_(weight).view_as(patches.weight))
    patches.bias.zero_()
    transformer.condition_embedder.time_proj.weight.zero_()
    transformer.condition_embedder.time_proj.bias.zero_()
    transformer.scale_shift_table.zero_()
    for block in transformer.blocks:
        block.attn1.to_out[0].weight.zero_()
        block.attn1.to_out[0].bias.zero_()
        block.attn2.to_out[0].bias.zero_()
        block.ffn.net[2].weight.zero_()
        block.ffn.net[2].bias.zero_()
        block.scale_shift_table.zero_()
        block.scale_shift_table[:, (2, 5)] = 1.0  # the gates: what a block adds arrives


@torch.no_grad()
def fit_head(network: EgoX, batches: Iterable[tuple[ClipBatch, Tensor, Tensor]]) -> None:
    """Fit the last layer to the velocity by ridge regression, in place.

    Args:
        network: whose last layer is fitted; all else stays.
        batches: clips, noise as large as their ego latents, and noise levels [B].
    """
    head = network.transformer.proj_out
    seen: list[Tensor] = []
    handle = head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    width = head.in_features
    square = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    product = torch.zeros(width + 1, head.out_features, dtype=torch.float64)
    try:
        for clips, noise, levels in batches:
            network(clips, noised(clips.ego, noise, levels), levels)
            layout = clips.layout
            tokens = rearrange(seen.pop(), "b (t h w) c -> b t h w c", t=layout.frames, h=layout.rows)
            features = tokens[..., layout.exo_columns :, :].flatten(0, 3).double().cpu()
            features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
            wanted = rearrange(
                noise - clips.ego, "b c t (h i) (w j) -> (b t h w) (i j c)", i=PATCH, j=PATCH
            ).double().cpu()  # fmt: skip
            square += features.T @ features
            product += features.T @ wanted
    finally:
        handle.remove()
    square += _RIDGE * square.diagonal().mean() * torch.eye(width + 1, dtype=torch.float64)
    solved = torch.linalg.solve(square, product).to(head.weight)  # [width + 1, out]
    head.weight.copy_(solved[:-1].T)
    head.bias.copy_(solved[-1])
