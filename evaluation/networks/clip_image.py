"""CLIP-I: the cosine of CLIP's embeddings of a frame and of the true frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from .weights import Weights, library

REPOSITORY = "openai/clip-vit-base-patch32"
_FRAMES = 16  # at once


class ClipSimilarity:
    """CLIP-I of every frame.

    Args:
        weights: where to look for CLIP.

    Raises:
        WeightsMissingError: if CLIP or `transformers` is not there.
    """

    name = "clip_i"

    def __init__(self, weights: Weights) -> None:
        transformers = library("transformers", "CLIP-I")
        self._model = weights.pretrained(transformers.CLIPModel.from_pretrained, REPOSITORY, "CLIP-I")
        self._processor = weights.pretrained(transformers.CLIPImageProcessor.from_pretrained, REPOSITORY, "CLIP-I")
        self._model.eval().to(weights.device)

    @torch.no_grad()
    def __call__(self, pred: Tensor, truth: Tensor) -> Mapping[str, Tensor]:
        """Return the cosine of every frame of clips [F, H, W, 3] in [0, 1]."""
        found = []
        for one, true in zip(pred.split(_FRAMES), truth.split(_FRAMES)):
            cancel_point()
            found.append(torch.cosine_similarity(self._embedding(one), self._embedding(true)).double().cpu())
        return {self.name: torch.cat(found)}

    def _embedding(self, frames: Tensor) -> Tensor:
        """Return CLIP's image embedding of frames [N, H, W, 3], [N, D]."""
        pictures = [frame.mul(255).round().byte().numpy() for frame in frames]
        pixels: Any = self._processor(images=pictures, return_tensors="pt")["pixel_values"]
        return self._model.get_image_features(pixel_values=pixels.to(self._model.device))
