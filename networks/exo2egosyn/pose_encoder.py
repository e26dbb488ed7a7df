"""The ego camera's path as pose tokens, one for each token of Wan (the paper's section 3.4.2).

A Pluecker map per frame, relative to exo camera 1, is folded so that one cell is one token of Wan, and two causal
convolutions along time bring the frames to latent frames: 9 -> 5 -> 3. Latent frame i sees frames up to 4 i only, as
in the VAE's own groups {0}, {1-4}, {5-8}. PoseInj and VAWAN's AC3D read the path so.

Parameters (Conv1d along time):

    stem.{weight [width, 6 * unshuffle^2, 1], bias}
    down1.{weight [width, width, kernel], bias}, down2 alike
    out.{weight [width, width, 1], bias}
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import silu

from ...common.wan_grid import PLUCKER_CHANNELS, SPATIAL_STRIDE, fits_wan

# Side of the square of pixels that makes one token, as Wan's.
UNSHUFFLE = SPATIAL_STRIDE
# Frames that a convolution along time sees.
KERNEL = 3
# Steps of time of each of the two convolutions: four frames make one latent frame of Wan's VAE.
_STRIDE = 2


class PoseEncoder(nn.Module):
    """Pluecker maps to pose tokens: 2,623,488 parameters at width 512.

    Args:
        width: of the encoder and of a pose token.
        unshuffle: side of the square of pixels that makes one token.
        kernel: frames that a convolution along time sees.
        operations: where the layers come from: torch.nn, or ComfyUI's operations, which cast the weights to the input's
            type and leave them uninitialised.
        device: where the parameters lie.
        dtype: their type.
    """

    def __init__(
        self,
        width: int,
        unshuffle: int = UNSHUFFLE,
        kernel: int = KERNEL,
        operations: Any = nn,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self._unshuffle = unshuffle
        self._kernel = kernel
        self.stem = operations.Conv1d(PLUCKER_CHANNELS * unshuffle**2, width, 1, **factory)
        self.down1 = operations.Conv1d(width, width, kernel, stride=_STRIDE, **factory)
        self.down2 = operations.Conv1d(width, width, kernel, stride=_STRIDE, **factory)
        self.out = operations.Conv1d(width, width, 1, **factory)

    def encode(self, plucker: Tensor) -> Tensor:
        """Encode the ego camera's path.

        Args:
            plucker: [B, 6, T, H, W] for all T = 4 n + 1 frames, moment first, relative to exo camera 1.

        Returns:
            Pose tokens [B, (n + 1) * H/16 * W/16, width], ordered (latent frame, row, column) as Wan's.

        Raises:
            ValueError: if the shape does not fit.
        """
        side = self._unshuffle
        if plucker.ndim != 5 or plucker.shape[1] != PLUCKER_CHANNELS or 0 in plucker.shape:
            raise ValueError(f"Pluecker maps are expected as [B, 6, T, H, W], got the shape {list(plucker.shape)}.")
        batch, _, frames, height, width = plucker.shape
        if not fits_wan(frames) or height % side or width % side:
            raise ValueError(
                f"Pluecker maps are expected for 4 n + 1 frames (1, 5, 9, ...) of images whose width and height are "
                f"multiples of {side}, got {frames} frames of {width} x {height}."
            )
        series = rearrange(plucker, "b c t (h p) (w q) -> (b h w) (c p q) t", p=side, q=side)
        series = silu(self.stem(series))
        series = silu(self.down1(self._from_the_past(series)))
        series = silu(self.down2(self._from_the_past(series)))
        return rearrange(self.out(series), "(b h w) dim t -> b (t h w) dim", b=batch, h=height // side)

    def _from_the_past(self, series: Tensor) -> Tensor:
        """Repeat the first step of [N, C, T] before it, so that a convolution needs nothing of the future."""
        first = series[:, :, :1].expand(-1, -1, self._kernel - 1)
        return torch.cat([first, series], dim=2)
