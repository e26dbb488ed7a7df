"""AC3D's camera conditioning on Wan: a light transformer block of smaller width beside every block.

Exo2EgoSyn's paper compares it in table 6, and its baseline VAWAN of tables 1 and 5 has it. It tells that additional DiT
blocks apply attention between compressed latents and camera poses in a lower-dimensional space (512 or 2048 wide), and
that they may be shared by all blocks of Wan. Before block i, for Wan's tokens h [n, dim] and pose tokens p [n, d]:

    a  = down(norm(h))                                          compressed tokens [n, d]
    a += o(attention(q(norm(a)), k(norm([a || p])), v(norm([a || p]))))
    a += ff_out(gelu(ff_in(norm(a))))
    h += up(a)                                                  zero until trained

Our choices, where the paper is silent:

- p comes from `pose_encoder.py` at width d, from Pluecker maps relative to exo camera 1, as PoseInj's.
- One encoder serves all blocks. The tokens p go into each block as they are: what attention would make of them is not
  read again.
- Heads of 128 channels with Wan's rotary positions; a token and the pose token of its cell have one position.
- Every norm is a LayerNorm without parameters (1e-6), as in Wan's blocks. No modulation by the time step: h tells it.
- The feed-forward layer is four times as wide, with GELU in its tanh form.

Parameters (Linear), `blocks` being one for each block of Wan, or the single block 0 that is shared:

    stem, down1, down2, out                                     the encoder's
    blocks.{i}.down.{weight [d, dim], bias}
    blocks.{i}.{q,k,v,o}.{weight [d, d], bias}
    blocks.{i}.ff_in.{weight [4 d, d], bias}, blocks.{i}.ff_out.{weight [d, 4 d], bias}
    blocks.{i}.up.{weight [dim, d], bias}
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from ...common.wan_grid import HEAD_CHANNELS
from .pose_encoder import PoseEncoder
from .rotary import turned

_FF_FACTOR = 4
_EPS = 1e-6


class PoseBlock(nn.Module):
    """One light block: 8,398,848 parameters at width 512, 71,328,768 at width 2048."""

    def __init__(self, dim: int, width: int, operations: Any, device: Any, dtype: torch.dtype | None) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.down = operations.Linear(dim, width, **factory)
        self.q, self.k, self.v, self.o = (operations.Linear(width, width, **factory) for _ in range(4))
        self.ff_in = operations.Linear(width, _FF_FACTOR * width, **factory)
        self.ff_out = operations.Linear(_FF_FACTOR * width, width, **factory)
        self.up = operations.Linear(width, dim, **factory)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, pose: Tensor, turns: Tensor) -> Tensor:
        """Return what the path adds to Wan's tokens.

        Args:
            hidden: Wan's tokens [B, n, dim] before a block.
            pose: pose tokens [B or 1, n, width].
            turns: of `rotary_turns`, for the n tokens.
        """
        small = self.down(_normed(hidden))
        normed = _normed(small)
        joined = torch.cat([normed, _normed(pose).expand(len(hidden), -1, -1)], dim=1)  # [B, 2 n, width]
        q, k, v = (_heads(x) for x in (self.q(normed), self.k(joined), self.v(joined)))
        attended = scaled_dot_product_attention(turned(q, turns), turned(k, turns.repeat(2, 1)), v)
        small = small + self.o(rearrange(attended, "b heads n d -> b n (heads d)"))
        small = small + self.ff_out(gelu(self.ff_in(_normed(small)), approximate="tanh"))
        return self.up(small)


class PoseBlocks(PoseEncoder):
    """Encoder and light blocks: 338,577,408 parameters at width 512, 11,022,336 shared, 2,885,664,768 at width 2048.

    Args:
        dim: width of Wan's tokens.
        width: of the light blocks, a multiple of 128.
        n_blocks: Wan's blocks, or 1 where one light block serves all of them.
        operations: as for the encoder.
        device: where the parameters lie.
        dtype: their type.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        n_blocks: int,
        operations: Any = nn,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(width, operations=operations, device=device, dtype=dtype)
        self.blocks = nn.ModuleList(PoseBlock(dim, width, operations, device, dtype) for _ in range(n_blocks))

    def inject(self, index: int, hidden: Tensor, pose: Tensor, turns: Tensor) -> Tensor:
        """Return the tokens of all frames with the path in them, for one of Wan's blocks.

        Args:
            index: the block of Wan that comes next.
            hidden: its input [B, n, dim].
            pose: of `encode`, [B or 1, n, width].
            turns: of `rotary_turns`, for the n tokens.

        Raises:
            ValueError: if the numbers of tokens differ.
        """
        if hidden.shape[1] != pose.shape[1]:
            raise ValueError(
                f"The ego camera's path gives {pose.shape[1]} tokens, and the model samples {hidden.shape[1]}. Make "
                "the Pluecker maps for the same frames and the same size as the video."
            )
        block = self.blocks[0 if len(self.blocks) == 1 else index]
        return hidden + block(hidden, pose, turns)


def _normed(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], eps=_EPS)


def _heads(x: Tensor) -> Tensor:
    """Split [B, n, width] into heads [B, heads, n, 128]."""
    return rearrange(x, "b n (heads d) -> b heads n d", d=HEAD_CHANNELS)
