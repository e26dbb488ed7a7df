"""Clips and networks of the trainer, from the tests' made-up clips and tiny weights."""

from __future__ import annotations

import torch
from torch import Tensor

from exo2ego.training.clips import TrainingClip
from exo2ego.training.transformer import transformer_of

from .egox_witness import MEAN, STD, Clip
from .tiny_wan import wan_state_dict


def in_model_scale(latent: Tensor) -> Tensor:
    """Return a latent [B, 16, T, h, w] of the VAE's scale as the transformer meets it."""
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    return (latent - mean) / std


def training_clip(clip: Clip, seed: int = 9) -> TrainingClip:
    """Return a made-up clip with a made-up true ego view."""
    truth = torch.randn(clip.prior.shape[1:], generator=torch.Generator().manual_seed(seed))
    exo, prior = in_model_scale(clip.exo)[0], in_model_scale(clip.prior)[0]
    text, features = clip.positive[0], clip.clip_features[0]
    return TrainingClip(exo, truth, prior, text, features, clip.ego_queries, clip.exo_keys)


def tiny_transformer(seed: int = 0):
    return transformer_of(wan_state_dict(seed=seed), "tiny_wan.safetensors")
