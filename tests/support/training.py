"""Clips and networks of the trainer, from the tests' made-up clips and tiny weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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

TEXT_WIDTH, IMAGE_WIDTH = 32, 16
SIZES = {"frames": 2, "height": 4, "exo_width": 4, "ego_width": 4}


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


def small_wan() -> dict[str, Tensor]:
    """Return weights of a tiny Wan whose text and image vectors are narrow: fast to train, no ComfyUI loads it."""
    weights = wan_state_dict(dim=128, ffn=32)
    weights["text_embedding.0.weight"] = weights["text_embedding.0.weight"][:, :TEXT_WIDTH].contiguous()
    for name in ("proj.0.weight", "proj.0.bias", "proj.1.bias"):
        weights[f"img_emb.{name}"] = weights[f"img_emb.{name}"][:IMAGE_WIDTH].contiguous()
    weights["img_emb.proj.1.weight"] = weights["img_emb.proj.1.weight"][:IMAGE_WIDTH, :IMAGE_WIDTH].contiguous()
    weights["img_emb.proj.3.weight"] = weights["img_emb.proj.3.weight"][:, :IMAGE_WIDTH].contiguous()
    return weights


def small_clip(seed: int, **sizes: int) -> TrainingClip:
    """Return a made-up clip for `small_wan`."""
    clip = training_clip(made_up_clip(seed=seed, **{**SIZES, **sizes}), seed=50 + seed)
    text, features = clip.text[:, :TEXT_WIDTH], clip.features[:, :IMAGE_WIDTH]
    return replace(clip, text=text.contiguous(), features=features.contiguous())


def write_cache(folder: Path, count: int = 3) -> None:
    """Write a cache of clips for `small_wan`, one a shard: clip_0, clip_1, ..."""
    for number in range(count):
        write_shard(folder, {f"clip_{number}": (small_clip(number), {})})
    write_negative(folder, torch.zeros(512, TEXT_WIDTH))


def tiny_recipe(folder: Path, **tables: dict) -> Recipe:
    """Return a recipe of a tiny run; `folder` holds cache, run and base model, which is written: `small_wan`."""
    return recipe_of(_tiny_tables(folder, **tables), folder / "recipe.toml")


def write_tiny_recipe(path: Path, **tables: dict) -> None:
    """Write what `tiny_recipe` returns, for commands."""
    content = _tiny_tables(path.parent, **tables)
    lines = [
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        for name, table in content.items()
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _tiny_tables(folder: Path, **tables: dict) -> dict[str, dict]:
    base = folder / "tiny_wan.safetensors"
    if not base.exists():
        save_file(small_wan(), base)
    content = {
        "run": {"steps": 6, "batch": 2, "precision": "fp32", "gradient_checkpointing": False},
        "model": {"base": str(base)},
        "lora": {"rank": 4, "alpha": 4.0},
        "data": {"held_out": ["clip_0"]},
        "optimizer": {"lr": 1e-3, "warmup": 2},
        "checkpoints": {"every": 2, "log_every": 1, "held_out_every": 0},
        "samples": {"steps": 2},
    }
    return {name: {**content.get(name, {}), **tables.get(name, {})} for name in {*content, *tables}}
