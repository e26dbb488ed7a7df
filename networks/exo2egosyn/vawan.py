"""VAWAN, the paper's baseline: exo latents as further input channels of Wan (the paper's section 4.1).

The patch embedding reads, in this order, 16 channels of noise, 4 of the mask, 16 of the first frame, and 16 of every
exo view: 100 with four views, 52 with one. The new columns start at zero. A convolution is a sum over its input
channels, so the new columns can also stand apart and add their tokens to those of the base model's own embedding
(`ExoChannels`): that leaves the base as it is, bit by bit, where the new columns are zero.

A file may also hold a conditioning on the ego camera's poses. The baseline of the paper's tables 1 and 5 has AC3D's;
table 6 compares the others.

    pose = none         without
    pose = ac3d         light blocks beside Wan's, `pose_blocks.py`
    pose = time_pose    poses in the time embedding, `pose_time.py`

Tensors of a file:

    patch_embedding.weight [dim, 36 + 16 * views, 1, 2, 2], patch_embedding.bias [dim]
    the keys of `self_attention_lora.py`
    pose.* : those of the module that `pose` names
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ...common.wan_grid import HEAD_CHANNELS, I2V_CHANNELS, LATENT_CHANNELS, WAN_PATCH
from .pose_blocks import PoseBlocks
from .pose_time import PoseTime
from .self_attention_lora import LoraConfig

NO_POSE, AC3D, TIME_POSE = VAWAN_POSES = ("none", "ac3d", "time_pose")
POSE_PREFIX = "pose."


@dataclass(frozen=True)
class VawanConfig:
    """Sizes of VAWAN: 2,053,120 numbers in the patch embedding by default, 1,310,720 of them new.

    Attributes:
        views: exo views, 16 channels each.
        lora: sizes of its LoRA, and of the base model.
        pose: conditioning on the ego camera's poses, one of `VAWAN_POSES`.
        pose_width: width of AC3D's light blocks: 512, or 2048, in the paper.
        pose_shared: whether one light block serves all of Wan's blocks.
    """

    views: int = 4
    lora: LoraConfig = field(default_factory=LoraConfig)
    pose: str = NO_POSE
    pose_width: int = 512
    pose_shared: bool = False

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"VAWAN needs at least one exo view, got {self.views}.")
        if self.pose not in VAWAN_POSES:
            raise ValueError(f"pose is one of {', '.join(VAWAN_POSES)}, got {self.pose!r}.")
        if self.pose_width < 1 or self.pose_width % HEAD_CHANNELS:
            raise ValueError(
                f"pose_width is {self.pose_width}, expected a multiple of {HEAD_CHANNELS}, the channels of an "
                "attention head."
            )

    @property
    def channels(self) -> int:
        """Input channels of the patch embedding."""
        return I2V_CHANNELS + LATENT_CHANNELS * self.views


class ExoChannels(nn.Module):
    """The new columns of the patch embedding, apart from the base model's: zero until trained.

    Args:
        config: sizes.
        operations: where the layer comes from: torch.nn or ComfyUI's operations.
        device: where the parameters lie.
        dtype: their type.
    """

    def __init__(
        self, config: VawanConfig, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.embed = operations.Conv3d(
            LATENT_CHANNELS * config.views,
            config.lora.dim,
            WAN_PATCH,
            WAN_PATCH,
            bias=False,
            device=device,
            dtype=dtype,
        )
        nn.init.zeros_(self.embed.weight)

    def forward(self, exo: Tensor) -> Tensor:
        """Return what the exo views add to Wan's patch embedding.

        Args:
            exo: normalised Wan latents [B, V, 16, t, h, w] of all views, of the sampled latent's frames and size.

        Returns:
            Tokens [B, t * h/2 * w/2, dim], ordered (frame, row, column) as Wan's.

        Raises:
            ValueError: if the shape does not fit.
        """
        views = self.config.views
        if exo.ndim != 6 or exo.shape[1:3] != (views, LATENT_CHANNELS) or exo.shape[4] % 2 or exo.shape[5] % 2:
            raise ValueError(
                f"This VAWAN was trained with {views} exo views and expects their latents as [B, {views}, "
                f"{LATENT_CHANNELS}, t, h, w] with even h and w, got the shape {list(exo.shape)}."
            )
        tokens = self.embed(rearrange(exo, "b v c t h w -> b (v c) t h w"))
        return rearrange(tokens, "b dim t h w -> b (t h w) dim")


def patch_embedding_shapes(config: VawanConfig) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the widened patch embedding."""
    dim = config.lora.dim
    return {"patch_embedding.weight": (dim, config.channels, *WAN_PATCH), "patch_embedding.bias": (dim,)}


def pose_network(config: VawanConfig, operations: Any = nn, device: Any = None) -> PoseBlocks | PoseTime | None:
    """Return the untrained network that reads the ego camera's poses, None where there is none."""
    if config.pose == AC3D:
        n_blocks = 1 if config.pose_shared else config.lora.blocks
        return PoseBlocks(config.lora.dim, config.pose_width, n_blocks, operations, device)
    return PoseTime(config.lora.dim, operations, device) if config.pose == TIME_POSE else None


def widened_patch_embedding(weight: Tensor, extra_channels: int) -> Tensor:
    """Return Wan's patch embedding with new input channels behind its own, zero.

    No node calls it: it is the start of a training.

    Args:
        weight: `patch_embedding.weight` [dim, 36, 1, 2, 2]; the bias stays as it is.
        extra_channels: 16 for every exo view.
    """
    new = weight.new_zeros(weight.shape[0], extra_channels, *weight.shape[2:])
    return torch.cat([weight, new], dim=1)
