"""PoseInj: the ego camera's path added to the tokens before Wan's first block (the paper's section 3.4.2).

The path is encoded by `pose_encoder.py`, one pose token for each token of Wan. The paper concatenates it to the hidden
state; a projection back to Wan's width is written as a residual that starts at zero:

    h0' = h0 + A h0 + B p + b        the same as [I + A | B] [h0 || p] + b

A is stored, never I + A: in bfloat16, 1.001 rounds to 1. Untrained, it leaves the tokens as they are, bit by bit.

Parameters, beside the encoder's:

    fuse.delta_x.weight [dim, dim]                           A, only with fuse="concat"
    fuse.pose.{weight [dim, pose_dim], bias [dim]}           B and b
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...common.wan_grid import WAN_DIM
from .pose_encoder import KERNEL, UNSHUFFLE, PoseEncoder

FUSES = ("concat", "additive")


@dataclass(frozen=True)
class PoseConfig:
    """Sizes of PoseInj.

    Attributes:
        dim: width of Wan's tokens.
        pose_dim: width of the encoder and of a pose token.
        unshuffle: side of the square of pixels that makes one token: 8 of the VAE times 2 of Wan's patch.
        kernel: frames that a convolution along time sees.
        fuse: "concat" as the paper, or "additive" without A.
    """

    dim: int = WAN_DIM
    pose_dim: int = 512
    unshuffle: int = UNSHUFFLE
    kernel: int = KERNEL
    fuse: str = FUSES[0]

    def __post_init__(self) -> None:
        if min(self.dim, self.pose_dim, self.unshuffle, self.kernel) < 1:
            raise ValueError(f"Every size of PoseInj must be at least 1, got {self}.")
        if self.fuse not in FUSES:
            raise ValueError(f"fuse is one of {', '.join(FUSES)}, got {self.fuse!r}.")


class Fuse(nn.Module):
    """What is added to the hidden state: zero until trained."""

    def __init__(self, config: PoseConfig, operations: Any, device: Any, dtype: torch.dtype | None) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.delta_x = None
        if config.fuse == "concat":
            self.delta_x = operations.Linear(config.dim, config.dim, bias=False, **factory)
        self.pose = operations.Linear(config.pose_dim, config.dim, **factory)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, pose: Tensor) -> Tensor:
        """Return A h + B p + b."""
        update = self.pose(pose)
        return update if self.delta_x is None else update + self.delta_x(hidden)


class PoseInjection(PoseEncoder):
    """Encoder and fusion: 31,464,448 parameters at the default sizes, 5,250,048 with `fuse="additive"`.

    Args:
        config: sizes.
        operations: where the layers come from: torch.nn, or ComfyUI's operations, which cast the weights to the input's
            type and leave the encoder's uninitialised.
        device: where the parameters lie.
        dtype: their type; float32 in files.
    """

    def __init__(
        self, config: PoseConfig, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(config.pose_dim, config.unshuffle, config.kernel, operations, device, dtype)
        self.config = config
        self.fuse = Fuse(config, operations, device, dtype)

    def inject(self, hidden: Tensor, pose: Tensor) -> Tensor:
        """Return the hidden state of all tokens with the path in it.

        Args:
            hidden: Wan's tokens [B, n, dim] before its first block.
            pose: of `encode`, [B or 1, n, pose_dim].

        Raises:
            ValueError: if the numbers of tokens differ.
        """
        if hidden.shape[1] != pose.shape[1]:
            raise ValueError(
                f"The ego camera's path gives {pose.shape[1]} tokens, and the model samples {hidden.shape[1]}. Make "
                "the Pluecker maps for the same frames and the same size as the video."
            )
        return hidden + self.fuse(hidden, pose)

    def forward(self, hidden: Tensor, plucker: Tensor) -> Tensor:
        """Encode and inject in one call."""
        return self.inject(hidden, self.encode(plucker))
