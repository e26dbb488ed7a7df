"""MultiExoCon: exo videos as tokens for Wan's cross-attention, in the place of text (the paper's section 3.4.1).

Every exo view's latent goes through one patch embedding; the tokens of all views make one sequence in the order
(view, frame, row, column). The cross-attention itself is Wan's own, with trained weights: `cross_attention_shapes`
names them.

The paper describes no positions, so the tokens are an unordered bag (`exo_pos="none"`). `exo_pos="learned"` adds, with
everything zero at the start, a table of views and sines of frame, row and column (`axis_sines`).

Parameters:

    exo_patch_embed.weight [dim, 16, 1, 2, 2], exo_patch_embed.bias [dim]
    view_emb [views, dim], pos_gain [3]                      only with exo_pos="learned"; gains of frame, row, column
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ...common.wan_grid import LATENT_CHANNELS, WAN_BLOCKS, WAN_DIM, WAN_PATCH

EXO_POSITIONS = ("none", "learned")

# Wavelengths of the sines run from 2 pi to this times 2 pi, as in "Attention Is All You Need".
_LONGEST = 10000.0


@dataclass(frozen=True)
class ExoTokenConfig:
    """Sizes of MultiExoCon.

    Attributes:
        dim: width of Wan's tokens.
        views: number of exo views it was trained with: the most it takes.
        exo_pos: "none" as the paper, or "learned".
        blocks: Wan's blocks, for the cross-attention set.
    """

    dim: int = WAN_DIM
    views: int = 4
    exo_pos: str = EXO_POSITIONS[0]
    blocks: int = WAN_BLOCKS

    def __post_init__(self) -> None:
        if min(self.dim, self.views, self.blocks) < 1:
            raise ValueError(f"Every size of MultiExoCon must be at least 1, got {self}.")
        if self.exo_pos not in EXO_POSITIONS:
            raise ValueError(f"exo_pos is one of {', '.join(EXO_POSITIONS)}, got {self.exo_pos!r}.")


class ExoTokenizer(nn.Module):
    """Exo latents to tokens: 332,800 parameters at the default sizes, and 20,483 more with positions.

    Args:
        config: sizes.
        operations: where the layers come from: torch.nn, or ComfyUI's operations, which cast the weights to the input's
            type and leave them uninitialised.
        device: where the parameters lie.
        dtype: their type; float32 in files.
    """

    def __init__(
        self, config: ExoTokenConfig, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        self.config = config
        self.exo_patch_embed = operations.Conv3d(LATENT_CHANNELS, config.dim, WAN_PATCH, stride=WAN_PATCH, **factory)
        if config.exo_pos == "learned":
            # Zeros, not a random table behind a zero gain: neutral all the same, and it learns from the first step.
            self.view_emb = nn.Parameter(torch.zeros(config.views, config.dim, **factory))
            self.pos_gain = nn.Parameter(torch.zeros(3, **factory))

    @classmethod
    def from_base(
        cls, weight: Tensor, bias: Tensor, views: int = 4, exo_pos: str = EXO_POSITIONS[0], blocks: int = WAN_BLOCKS
    ) -> ExoTokenizer:
        """Return a tokeniser that starts from the base model's patch embedding.

        Its first 16 input channels already embed video latents into the tokens' space.
        No node calls it: it is the start of a training.

        Args:
            weight: Wan's `patch_embedding.weight` [dim, 16 or more, 1, 2, 2].
            bias: its bias [dim].
            views: see `ExoTokenConfig`.
            exo_pos: see `ExoTokenConfig`.
            blocks: see `ExoTokenConfig`.
        """
        module = cls(ExoTokenConfig(weight.shape[0], views, exo_pos, blocks), device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            module.exo_patch_embed.weight.copy_(weight[:, :LATENT_CHANNELS])
            module.exo_patch_embed.bias.copy_(bias)
        return module

    def forward(self, exo: Tensor) -> Tensor:
        """Make the tokens of all views.

        Args:
            exo: normalised Wan latents [B, V, 16, t, h, w], h and w even. Zeros give the null branch of CFG, in which
                every token is the bias (and, with positions, its position).

        Returns:
            [B, V * t * h/2 * w/2, dim], ordered (view, frame, row, column).

        Raises:
            ValueError: if the shape does not fit, or there are more views than it was trained with.
        """
        if exo.ndim != 6 or exo.shape[2] != LATENT_CHANNELS or 0 in exo.shape or exo.shape[4] % 2 or exo.shape[5] % 2:
            raise ValueError(
                f"Exo latents are expected as [B, V, {LATENT_CHANNELS}, t, h, w] with even h and w (images whose "
                f"width and height are multiples of 16), got the shape {list(exo.shape)}."
            )
        if exo.shape[1] > self.config.views:
            raise ValueError(
                f"{exo.shape[1]} exo views arrived: this MultiExoCon component supports at most {self.config.views} "
                "views."
            )
        tokens = self.exo_patch_embed(rearrange(exo, "b v c t h w -> (b v) c t h w"))
        tokens = rearrange(tokens, "(b v) dim t h w -> b v t h w dim", v=exo.shape[1])
        if self.config.exo_pos == "learned":
            tokens = tokens + self._positions(tokens)
        return rearrange(tokens, "b v t h w dim -> b (v t h w) dim")

    def _positions(self, tokens: Tensor) -> Tensor:
        """Return what marks view, frame, row and column, [V, t, rows, columns, dim], in the tokens' type."""
        view = self.view_emb[: tokens.shape[1]].to(tokens)[:, None, None, None]  # [V, 1, 1, 1, dim]
        gain = self.pos_gain.to(tokens.device, torch.float32)
        grid = axis_sines(tokens.shape[2:5], self.config.dim, tokens.device)
        position = torch.cat([part * sines for part, sines in zip(gain, grid)], dim=-1)  # [t, rows, columns, dim]
        return view + position.to(tokens)


def axis_sines(
    grid: tuple[int, int, int], dim: int, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sines and cosines of frame, row and column: three parts of `dim` channels, float32.

    Row and column have `2 * (dim // 6)` channels each and the frame has the rest. A part of n channels holds the sines
    of `index / 10000 ** (k / ceil(n / 2))` for k = 0, 1, ..., then the cosines; an odd n drops the last cosine.

    Args:
        grid: number of frames, rows and columns.
        dim: channels of all three parts.
        device: where to make them.

    Returns:
        Three tensors [t, rows, columns, n], expanded over the axes that they do not tell.
    """
    small = 2 * (dim // 6)
    parts = []
    for axis, width in enumerate((dim - 2 * small, small, small)):
        count = (width + 1) // 2
        frequency = _LONGEST ** -(torch.arange(count, device=device, dtype=torch.float32) / max(count, 1))
        angle = torch.arange(grid[axis], device=device, dtype=torch.float32)[:, None] * frequency  # [n, count]
        shape = [1, 1, 1, width]
        shape[axis] = grid[axis]
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :width].view(shape).expand(*grid, width))
    return tuple(parts)


def cross_attention_shapes(dim: int = WAN_DIM, blocks: int = WAN_BLOCKS) -> dict[str, tuple[int, ...]]:
    """Return names (without a prefix) and shapes of the weights that MultiExoCon puts in Wan's cross-attention.

    All of them, 4,195,532,800 numbers at the size of Wan 2.2 A14B; the norm before it stays the base model's.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(blocks):
        layer = f"blocks.{block}.cross_attn"
        for name in ("q", "k", "v", "o"):
            shapes[f"{layer}.{name}.weight"] = (dim, dim)
            shapes[f"{layer}.{name}.bias"] = (dim,)
        shapes[f"{layer}.norm_q.weight"] = shapes[f"{layer}.norm_k.weight"] = (dim,)
    return shapes
