"""Clips and networks of the trainer, from the tests' made-up clips and tiny weights."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import Tensor

from exo2ego.training.data.cache import write_negative, write_shard
from exo2ego.training.data.clips import TrainingClip
from exo2ego.training.network.transformer import transformer_of
from exo2ego.training.recipe import Recipe
from exo2ego.training.toml_file import recipe_of

from .egox_witness import MEAN, STD, Clip, made_up_clip
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


def write_cache(folder, count: int = 3, made=None, **sizes: int) -> list[str]:
    """Write a cache of made-up clips, one a shard; returns their names."""
    sizes = {"frames": 2, "height": 4, "exo_width": 4, "ego_width": 4, **sizes}
    names = [f"clip_{number}" for number in range(count)]
    for number, name in enumerate(names):
        write_shard(folder, {name: (training_clip(made_up_clip(seed=number, **sizes), seed=50 + number), made or {})})
    write_negative(folder, torch.zeros(512, 4096))
    return names


def tiny_recipe(folder, **tables: dict) -> Recipe:
    """Return a recipe of a tiny run: `folder` holds the cache, the run and the base model, which is written."""
    base = folder / "tiny_wan.safetensors"
    if not base.exists():
        save_file(wan_state_dict(), base)
    content = {
        "run": {"steps": 6, "batch": 2, "precision": "fp32", "gradient_checkpointing": False},
        "model": {"base": str(base)},
        "lora": {"rank": 4, "alpha": 4.0},
        "data": {"held_out": ["clip_0"]},
        "optimizer": {"lr": 1e-3, "warmup": 2},
        "checkpoints": {"every": 2, "log_every": 1, "held_out_every": 0},
        "samples": {"steps": 2},
    }
    merged = {name: {**content.get(name, {}), **tables.get(name, {})} for name in {*content, *tables}}
    return recipe_of(merged, folder / "recipe.toml")
