"""EgoExo-Align: the first ego latent from the first frames of the exo views (the paper's section 3.3).

Each view is the VAE latent of its first frame and the Pluecker map of the ego camera's rays, seen from that view's
camera, joined on channels. A spatial-temporal transformer mixes the views; the mean of their latent outputs is the
prediction, a normalised Wan latent. The module is a predictor and has no neutral setting: without it, give the model a
real first frame.

Parameters beside those of `st_transformer.py`:

    stem.{norm_in,proj,norm_out}.{weight,bias}
    head.{weight,bias}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ...common.wan_grid import LATENT_CHANNELS, PLUCKER_CHANNELS
from .st_transformer import LayerNorm, STConfig, STTransformer


@dataclass(frozen=True)
class AlignConfig(STConfig):
    """Sizes of EgoExo-Align; the paper's by default.

    Attributes:
        patch_size: side of the square of latent cells that makes one token. The paper does not tell; 2 gives the
            token grid of Wan and of the cited code (docs/exo2egosyn-format.md).
        channels: of the input and of the output: 16 of the latent and 6 of the Pluecker map (table 7).
    """

    patch_size: int = 2
    channels: int = LATENT_CHANNELS + PLUCKER_CHANNELS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_size < 1 or self.channels < LATENT_CHANNELS:
            raise ValueError(
                f"EgoExo-Align needs patches of at least 1 cell and at least {LATENT_CHANNELS} channels, got {self}."
            )

    @property
    def patch_channels(self) -> int:
        """Numbers in a patch: 88 at the default sizes."""
        return self.channels * self.patch_size**2


class Stem(nn.Module):
    """Embed the patches of every view alike: LayerNorm, projection, LayerNorm."""

    def __init__(self, config: AlignConfig, operations: Any, device: Any, dtype: torch.dtype | None) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.norm_in = LayerNorm(config.patch_channels, bias=True, **factory)
        self.proj = operations.Linear(config.patch_channels, config.dim, **factory)
        self.norm_out = LayerNorm(config.dim, bias=True, **factory)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches [..., c * p * p] to tokens [..., dim]."""
        return self.norm_out(self.proj(self.norm_in(patches)))


class EgoExoAlign(STTransformer):
    """Predict the first ego latent: 50,671,880 parameters at the default sizes.

    Args:
        config: sizes.
        operations: where the layers come from, see `STTransformer`.
        device: where the parameters lie.
        dtype: their type.
    """

    def __init__(
        self, config: AlignConfig, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(config, operations, device, dtype)
        self.config = config
        self.stem = Stem(config, operations, device, dtype)
        self.head = operations.Linear(config.dim, config.patch_channels, device=device, dtype=dtype)

    def forward(self, maps: Tensor) -> Tensor:
        """Predict the ego latent of the first frame.

        Args:
            maps: [B, V, 22, h, w]: per view the normalised Wan latent of its first frame (16) and the Pluecker map of
                the ego camera relative to that view (6), on the latent's grid. Any number of views; their order counts.

        Returns:
            The normalised Wan latent [B, 16, 1, h, w]: the mean of what each view's slot predicts, where the paper
            tells nothing (docs/exo2egosyn-format.md).

        Raises:
            ValueError: if the shape does not fit.
        """
        return self.view_outputs(maps)[:, :, :LATENT_CHANNELS].mean(dim=1).unsqueeze(2)

    def view_outputs(self, maps: Tensor) -> Tensor:
        """Return what every view's slot predicts, [B, V, 22, h, w]: latent, then Pluecker map. For training."""
        patch = self.config.patch_size
        if maps.ndim != 5 or maps.shape[2] != self.config.channels or 0 in maps.shape:
            raise ValueError(
                f"EgoExo-Align expects maps [B, V, {self.config.channels}, h, w]: the exo latents and the Pluecker "
                f"maps joined on channels; got the shape {list(maps.shape)}."
            )
        if maps.shape[3] % patch or maps.shape[4] % patch:
            raise ValueError(
                f"EgoExo-Align cuts the views' latents into {patch} x {patch} patches; {maps.shape[4]} x "
                f"{maps.shape[3]} cannot be cut like that. Use images whose width and height are multiples of "
                f"{8 * patch}."
            )
        tokens = self.stem(_patchify(maps, patch))  # [B, V, h / p, w / p, dim]
        return _unpatchify(self.head(super().forward(tokens)), patch)


def _patchify(maps: Tensor, patch: int) -> Tensor:
    """Cut [B, V, c, h, w] into patches [B, V, h / p, w / p, c * p * p], ordered (c, row, column)."""
    return rearrange(maps, "b v c (h p) (w q) -> b v h w (c p q)", p=patch, q=patch)


def _unpatchify(patches: Tensor, patch: int) -> Tensor:
    """Undo `_patchify`."""
    return rearrange(patches, "b v h w (c p q) -> b v c (h p) (w q)", p=patch, q=patch)
