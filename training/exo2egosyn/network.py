"""One forward pass of Exo2EgoSyn's stages on Wan 2.2 (the paper's section 3.4), as the ComfyUI patch runs it.

    tokens = patch embedding of [noisy ego 16 | mask 4 | condition 16], plus VAWAN's part of the exo latents
    tokens = PoseInj(tokens, ego camera's path)
    every block: tokens += AC3D's light block of VAWAN, or its poses come with the time step
                 cross-attention sees the exo tokens in the place of the text

The condition is the first ego latent, predicted by EgoExo-Align or true, and gray frames after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from ...common.wan_grid import LATENT_CHANNELS, MASK_CHANNELS, PATCH
from ...networks.exo2egosyn.ego_exo_align import EgoExoAlign
from ...networks.exo2egosyn.exo_tokens import ExoTokenizer
from ...networks.exo2egosyn.pose_blocks import PoseBlocks
from ...networks.exo2egosyn.pose_injection import PoseInjection
from ...networks.exo2egosyn.pose_time import PoseTime
from ...networks.exo2egosyn.rotary import rotary_turns
from ...networks.exo2egosyn.vawan import ExoChannels
from ..data.clips import ViewsBatch
from ..network.egox import TIMESTEPS
from .settings import PIXEL

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel


class ViewsToEgo(nn.Module):
    """Wan 2.2 with what Exo2EgoSyn adds to it; what is absent stays Wan's own.

    Args:
        transformer: Wan 2.2 I2V.
        tokenizer: exo latents to tokens, which take the place of the text.
        channels: VAWAN's further input channels.
        pose: PoseInj.
        vawan_pose: VAWAN's conditioning on poses.
        cond_tail: what follows a true first frame: "gray" or "pixel".

    Attributes:
        align: EgoExo-Align, frozen, which predicts first frames; None for true ones.
    """

    def __init__(
        self,
        transformer: WanTransformer3DModel,
        tokenizer: ExoTokenizer | None = None,
        channels: ExoChannels | None = None,
        pose: PoseInjection | None = None,
        vawan_pose: PoseBlocks | PoseTime | None = None,
        cond_tail: str = "gray",
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.tokenizer, self.channels = tokenizer, channels
        self.pose, self.vawan_pose = pose, vawan_pose
        self.align: EgoExoAlign | None = None
        self._cond_tail = cond_tail

    def forward(self, clips: ViewsBatch, noisy: Tensor, levels: Tensor, without_exo: Tensor | None = None) -> Tensor:
        """Return the velocity of the ego view.

        Args:
            clips: what the model is shown; of the true ego view its first frame at most is looked at.
            noisy: ego latents at their noise levels [B, 16, T, h, w].
            levels: noise levels [B], from 0 (data) to 1 (noise).
            without_exo: of which clips the exo latents are left out [B], CFG's null branch; None for none. First frame
                and poses stay.

        Returns:
            [B, 16, T, h, w].
        """
        exo = clips.exo if without_exo is None else clips.exo * ~without_exo.view(-1, *[1] * (clips.exo.ndim - 1))
        mask = torch.zeros_like(noisy[:, :MASK_CHANNELS])
        mask[:, :, 0] = 1
        x = torch.cat([noisy, mask, self._condition(clips).to(noisy)], dim=1)  # [B, 36, T, h, w]
        dtype = self.transformer.patch_embedding.weight.dtype
        hidden = rearrange(self.transformer.patch_embedding(x.to(dtype)), "b dim t h w -> b (t h w) dim")
        if self.channels is not None:
            hidden = hidden + self.channels(exo).to(hidden)
        if self.pose is not None:
            hidden = self.pose.inject(hidden, self._path(self.pose, clips).to(hidden))
        path, turns = None, None
        if isinstance(self.vawan_pose, PoseBlocks):
            path = self._path(self.vawan_pose, clips).to(hidden)
            turns = rotary_turns(_grid(x), x.device)
        embedding = self._time(levels, clips, hidden)  # [B, D], or [B, tokens, D]
        modulation = self.transformer.condition_embedder.time_proj(nn.functional.silu(embedding))
        modulation = modulation.unflatten(-1, (6, -1))
        arguments = (self._context(exo, clips, hidden), modulation, self.transformer.rope(x), path, turns)
        for index in range(len(self.transformer.blocks)):
            hidden = self._checkpointed(index, hidden, *arguments)
        return self._velocity(hidden, embedding, x)

    def _condition(self, clips: ViewsBatch) -> Tensor:
        """Return the first ego latent and what follows it [B, 16, T, h, w]."""
        if self.align is None and self._cond_tail == PIXEL:
            return clips.first_then_gray
        return torch.cat([self._first(clips), clips.gray[:, :, 1:]], dim=2)

    @torch.no_grad()
    def _first(self, clips: ViewsBatch) -> Tensor:
        return clips.ego[:, :, :1] if self.align is None else self.align(align_input(clips))

    def _path(self, encoder: Any, clips: ViewsBatch) -> Tensor:
        """Return the ego camera's path as pose tokens [B, tokens, width]."""
        return encoder.encode(rearrange(clips.plucker, "b f rays h w -> b rays f h w"))

    def _context(self, exo: Tensor, clips: ViewsBatch, hidden: Tensor) -> Tensor:
        """Return what cross-attention sees [B, n, D]."""
        if self.tokenizer is not None:
            return self.tokenizer(exo).to(hidden)
        if clips.text is None:
            raise ValueError(
                "VAWAN reads the empty prompt, and a clip of the cache has no text: run `training cache` with a text "
                "encoder in [encoders] folder."
            )
        return self.transformer.condition_embedder.text_embedder(clips.text.to(hidden))

    def _time(self, levels: Tensor, clips: ViewsBatch, hidden: Tensor) -> Tensor:
        """Return the embedding of the time step [B, D], or with poses in it that of every token [B, n, D]."""
        embedder = self.transformer.condition_embedder
        weight = next(embedder.time_embedder.parameters())
        embedding = embedder.time_embedder(embedder.timesteps_proj(TIMESTEPS * levels).to(weight)).to(hidden)
        if not isinstance(self.vawan_pose, PoseTime):
            return embedding
        times = torch.stack([self.vawan_pose(poses) for poses in clips.poses]).to(hidden)  # [B, T, D]
        per_frame = hidden.shape[1] // times.shape[1]
        return repeat(embedding[:, None] + times, "b frame dim -> b (frame token) dim", token=per_frame)

    def _checkpointed(self, index: int, hidden: Tensor, *arguments: Any) -> Tensor:
        if torch.is_grad_enabled() and self.transformer.gradient_checkpointing:
            return self.transformer._gradient_checkpointing_func(self._block, index, hidden, *arguments)
        return self._block(index, hidden, *arguments)

    def _block(
        self,
        index: int,
        hidden: Tensor,
        context: Tensor,
        modulation: Tensor,
        rotary: tuple[Tensor, Tensor],
        path: Tensor | None,
        turns: Tensor | None,
    ) -> Tensor:
        """Return the tokens [B, n, D] after a block of Wan, and the light block before it."""
        if path is not None:
            hidden = self.vawan_pose.inject(index, hidden, path, turns)
        return self.transformer.blocks[index](hidden, context, modulation, rotary)

    def _velocity(self, hidden: Tensor, embedding: Tensor, like: Tensor) -> Tensor:
        """Return what Wan's head makes of the last tokens [B, 16, T, h, w]."""
        wan = self.transformer
        embedding = embedding if embedding.ndim == 3 else embedding[:, None]  # [B, 1 or n, D]
        shift, scale = (wan.scale_shift_table[:, None] + embedding.unsqueeze(2)).unbind(2)
        hidden = (wan.norm_out(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        frames, rows, columns = _grid(like)
        return rearrange(
            wan.proj_out(hidden),
            "b (t h w) (p q c) -> b c t (h p) (w q)",
            t=frames,
            h=rows,
            w=columns,
            p=PATCH,
            q=PATCH,
            c=LATENT_CHANNELS,
        )


def align_input(clips: ViewsBatch) -> Tensor:
    """Return what EgoExo-Align sees: first exo latents and Pluecker maps [B, V, 22, h, w]."""
    return torch.cat([clips.exo[:, :, :, 0], clips.align_plucker], dim=2)


def _grid(x: Tensor) -> tuple[int, int, int]:
    """Return frames, rows and columns of the tokens of [B, c, T, h, w]."""
    return x.shape[2], x.shape[3] // PATCH, x.shape[4] // PATCH
