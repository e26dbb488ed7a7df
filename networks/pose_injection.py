"""PoseInj: the ego camera's path added to the tokens before Wan's first block (specification, section 6.3).

A Pluecker map per frame, relative to exo camera 1, is folded so that one cell is one token of Wan, and two causal
convolutions along time bring the frames to latent frames: 9 -> 5 -> 3. Latent frame i sees frames up to 4 i only, as
in the VAE's own groups {0}, {1-4}, {5-8}. The paper concatenates the result to the hidden state; a projection back to
Wan's width is written as a residual that starts at zero:

    h0' = h0 + A h0 + B p + b        the same as [I + A | B] [h0 || p] + b

A is stored, never I + A: in bfloat16, 1.001 rounds to 1. Untrained, it leaves the tokens as they are, bit by bit.

Parameters (Conv1d along time, and Linear):

    stem.{weight [pose_dim, 6 * unshuffle^2, 1], bias}
    down1.{weight [pose_dim, pose_dim, kernel], bias}, down2 alike
    out.{weight [pose_dim, pose_dim, 1], bias}
    fuse.delta_x.weight [dim, dim]                           A, only with fuse="concat"
    fuse.pose.{weight [dim, pose_dim], bias [dim]}           B and b
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, silu

from .stored_weights import with_weights
from .wan_sizes import PLUCKER_CHANNELS, WAN_DIM

if TYPE_CHECKING:
    from .component_files import LoadedComponent

FUSES = ("concat", "additive")
# Steps of time of each of the two convolutions: four frames make one latent frame of Wan's VAE.
_STRIDE = 2


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
    unshuffle: int = 16
    kernel: int = 3
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


class PoseInjection(nn.Module):
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
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        width = config.pose_dim
        self.config = config
        self.stem = operations.Conv1d(PLUCKER_CHANNELS * config.unshuffle**2, width, 1, **factory)
        self.down1 = operations.Conv1d(width, width, config.kernel, stride=_STRIDE, **factory)
        self.down2 = operations.Conv1d(width, width, config.kernel, stride=_STRIDE, **factory)
        self.out = operations.Conv1d(width, width, 1, **factory)
        self.fuse = Fuse(config, operations, device, dtype)

    def encode(self, plucker: Tensor) -> Tensor:
        """Encode the ego camera's path.

        Args:
            plucker: [B, 6, T, H, W] for all T = 4 n + 1 frames, moment first, relative to exo camera 1.

        Returns:
            Pose tokens [B, (n + 1) * H/16 * W/16, pose_dim], ordered (latent frame, row, column) as Wan's.

        Raises:
            ValueError: if the shape does not fit.
        """
        side = self.config.unshuffle
        if plucker.ndim != 5 or plucker.shape[1] != PLUCKER_CHANNELS or 0 in plucker.shape:
            raise ValueError(f"Pluecker maps are expected as [B, 6, T, H, W], got the shape {list(plucker.shape)}.")
        batch, _, frames, height, width = plucker.shape
        if frames % 4 != 1 or height % side or width % side:
            raise ValueError(
                f"Pluecker maps are expected for 4 n + 1 frames (1, 5, 9, ...) of pictures whose sides are multiples "
                f"of {side}, got {frames} frames of {width} x {height}."
            )
        cells = pixel_unshuffle(plucker.movedim(2, 1), side)  # [B, T, 6 * side^2, H / side, W / side]
        grid = cells.shape[3:]
        series = cells.permute(0, 3, 4, 2, 1).flatten(0, 2)  # [B * cells, 6 * side^2, T]
        series = silu(self.stem(series))
        series = silu(self.down1(self._from_the_past(series)))
        series = silu(self.down2(self._from_the_past(series)))
        pose = self.out(series).unflatten(0, (batch, *grid))  # [B, rows, columns, pose_dim, t]
        return pose.permute(0, 4, 1, 2, 3).flatten(1, 3)

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

    def _from_the_past(self, series: Tensor) -> Tensor:
        """Repeat the first step of [N, C, T] before it, so that a convolution needs nothing of the future."""
        first = series[:, :, :1].expand(-1, -1, self.config.kernel - 1)
        return torch.cat([first, series], dim=2)


def build_pose_injection(
    loaded: LoadedComponent, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
) -> PoseInjection:
    """Return the network of a file that `read_component` read, in the file's type unless `dtype` says otherwise."""
    return with_weights(PoseInjection(loaded.config, operations, device="meta"), loaded.state_dict, device, dtype)
