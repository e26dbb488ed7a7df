"""Poses in Wan's time embedding, as VAWAN's Time&Pose has them.

Core computes the embedding within its forward pass, where no hook of ComfyUI reaches: blocks and head both read it. So
an object patch stands in the place of `time_embedding`. It has the same layers under the same names, so weight
patches, offloading and LoRAs find them as before. During a model call of ours it adds a vector for every latent frame;
core knows such embeddings from Wan 2.2 5B, whose frames have time steps of their own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import comfy.ldm.wan.model
import torch
from einops import rearrange, repeat
from torch import Tensor, nn

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

TIME_EMBEDDING = "diffusion_model.time_embedding"

# Older versions of ComfyUI take one embedding for all tokens or one for each token, none for each frame.
_TAKES_FRAMES = hasattr(comfy.ldm.wan.model, "repeat_e")


class PosedTimeEmbedding(nn.Sequential):
    """Wan's time embedding, and what poses add to it.

    Args:
        original: the model's own, or another pack's patch of it; it keeps its layers.
        before: the object patch that this one displaces, None where there is none.
    """

    def __init__(self, original: nn.Sequential, before: Any = None) -> None:
        super().__init__(OrderedDict(original.named_children()))
        self.before = (before,)  # in a tuple, so that it is no submodule
        self._update: Tensor | None = None
        self._shape = (0, 0)
        self._used = False

    @contextmanager
    def adding(self, update: Tensor, rows: int, tokens_per_frame: int) -> Iterator[None]:
        """Add `update` [frames, dim] to the embeddings of a model call with so many rows."""
        self._update, self._shape, self._used = update, (rows, tokens_per_frame), False
        try:
            yield
        finally:
            self._update = None

    @property
    def was_used(self) -> bool:
        """Whether the last call of the model computed its time embedding here."""
        return self._used

    def forward(self, sines: Tensor) -> Tensor:
        """Map [B * k, 256] to [B * k, dim], where every row has k time steps; with poses [B * frames, dim]."""
        return self._with_poses(super().forward(sines))

    # torch.compile traces the layers, not this: the poses of a call would be a new guard at every call.
    @torch.compiler.disable
    def _with_poses(self, embedding: Tensor) -> Tensor:
        if self._update is None:
            return embedding
        self._used = True
        rows, tokens_per_frame = self._shape
        update = self._update.to(embedding)
        steps = rearrange(embedding, "(b step) dim -> b step dim", b=rows)
        if steps.shape[1] not in (1, len(update)):
            raise ValueError(
                f"VAWAN with Time&Pose adds a pose to each of {len(update)} latent frames, and another node gives the "
                f"model {steps.shape[1]} time steps a video: remove it."
            )
        steps = steps + update
        if not _TAKES_FRAMES:
            return repeat(steps, "b frame dim -> (b frame token) dim", token=tokens_per_frame)
        return rearrange(steps, "b frame dim -> (b frame) dim")


def add_time_embedding(patched: ModelPatcher) -> PosedTimeEmbedding:
    """Put a `PosedTimeEmbedding` on a MODEL, in place, and return it.

    Raises:
        ValueError: if another pack has replaced the time embedding by something else than layers in a row.
    """
    original = patched.get_model_object(TIME_EMBEDDING)
    if not isinstance(original, nn.Sequential):
        raise ValueError(
            f"VAWAN with Time&Pose adds poses to Wan's time embedding, and another node has put a "
            f"{type(original).__name__} in its place: remove that node."
        )
    posed = PosedTimeEmbedding(original, patched.object_patches.get(TIME_EMBEDDING))
    patched.add_object_patch(TIME_EMBEDDING, posed)
    return posed


def remove_time_embedding(patched: ModelPatcher) -> None:
    """Take a `PosedTimeEmbedding` off a MODEL, in place, where there is one."""
    posed = patched.object_patches.get(TIME_EMBEDDING)
    if not isinstance(posed, PosedTimeEmbedding):
        return
    (before,) = posed.before
    if before is None:
        del patched.object_patches[TIME_EMBEDDING]
    else:
        patched.object_patches[TIME_EMBEDDING] = before
