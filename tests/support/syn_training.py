"""Clips, recipes and checkpoints of Exo2EgoSyn's training, on the tiny Wan 2.2 and tiny components."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from exo2ego.networks.components.files import LoadedComponent, read_component
from exo2ego.networks.components.metadata import Component
from exo2ego.training.data.cache import write_shard
from exo2ego.training.data.clips import ViewsClip
from exo2ego.training.method import Method
from exo2ego.training.recipe import STAGE_0, STAGE_1, STAGE_2, VAWAN, Recipe
from exo2ego.training.state import Checkpoint
from exo2ego.training.toml_file import recipe_of
from exo2ego.training.trainer import flat

from .egosyn_witness import SynClip, made_up_syn_clip
from .egox_witness import MEAN, STD
from .tiny_components import LORA, VAWAN_POSES, write_tiny_component
from .tiny_wan import wan_state_dict
from .training import in_model_scale

BASE = "wan2.2_i2v_low_noise_tiny.safetensors"
SIZES = {"frames": 2, "height": 4, "width": 6}
VIEWS = 2
# By name: the tables that choose a recipe. Those of VAWAN are the paper's variants.
RECIPES: dict[str, dict[str, dict]] = {
    "stage 0": {"run": {"method": STAGE_0}},
    "stage 0, maps too": {"run": {"method": STAGE_0}, "align": {"plucker_weight": 0.1}},
    "stage 1": {"run": {"method": STAGE_1}},
    "stage 1, positions": {"run": {"method": STAGE_1}, "exo2egosyn": {"exo_pos": "learned"}},
    "stage 2": {"run": {"method": STAGE_2}},
    "stage 2, additive": {"run": {"method": STAGE_2}, "exo2egosyn": {"fuse": "additive"}},
    "vawan": {"run": {"method": VAWAN}},
    **{f"vawan, {name}": {"run": {"method": VAWAN}, "vawan": config} for name, config in VAWAN_POSES.items()},
}
ON_WAN = [name for name in RECIPES if not name.startswith("stage 0")]


def in_vae_scale(latent: Tensor) -> Tensor:
    """Return a latent [..., 16, T, h, w] of the model's scale as the VAE gives it."""
    mean, std = (torch.tensor(values).view(16, 1, 1, 1) for values in (MEAN, STD))
    return latent * std + mean


def views_clip(seed: int = 0, **sizes: int) -> ViewsClip:
    """Return a made-up clip."""
    made = made_up_syn_clip(seed, **{**SIZES, "views": VIEWS, **sizes})
    random = torch.Generator().manual_seed(100 + seed)
    ego, gray, started = torch.randn(3, *made.condition.shape[1:], generator=random)
    views, _, _, height, width = made.exo.shape
    maps = torch.randn(views, 6, height, width, generator=random)
    text = made.positive[0, :3].contiguous()
    return ViewsClip(in_model_scale(made.exo), ego, gray, started, made.plucker, maps, made.poses, text)


def as_sampled(clip: ViewsClip, first: Tensor, tail: Tensor | None = None) -> SynClip:
    """Return what the nodes sample a clip from: the first latent [16, 1, h, w] and what follows it."""
    condition = torch.cat([first, (clip.gray if tail is None else tail)[:, 1:]], dim=1)
    mask = torch.ones(1, 1, *condition.shape[1:])
    mask[:, :, 0] = 0
    text = torch.zeros(1, 512, clip.text.shape[1])
    text[0, : len(clip.text)] = clip.text
    exo = in_vae_scale(clip.exo)
    return SynClip(exo, in_vae_scale(condition)[None], mask, clip.plucker, text, text, clip.poses)


def write_views_cache(folder: Path, count: int = 3, **sizes: int) -> None:
    """Write a cache of clips, one a shard: clip_0, clip_1, ..."""
    for number in range(count):
        write_shard(folder, {f"clip_{number}": (views_clip(number, **sizes), {})})


def syn_recipe(folder: Path, name: str, **tables: dict) -> Recipe:
    """Return a recipe of `RECIPES` for a tiny run; what it goes on from is written into `folder`."""
    chosen = RECIPES[name]
    method = chosen["run"]["method"]
    content: dict[str, dict[str, Any]] = {
        "run": {"steps": 3, "batch": 2, "precision": "fp32", "gradient_checkpointing": False},
        "lora": {"rank": LORA.rank, "alpha": LORA.alpha, "targets": [f"self_attn.{layer}" for layer in "qkvo"]},
        "data": {"held_out": ["clip_0"], "frames": 5, "exo_size": [48, 32], "ego_size": [48, 32]},
        "exo2egosyn": {"views": VIEWS, "pose_dim": 8},
        "align": {"dim": 16, "heads": 2, "dim_head": 8, "num_blocks": 1},
        "optimizer": {"lr": 1e-3, "warmup": 2},
        "checkpoints": {"every": 2, "log_every": 1, "held_out_every": 0},
        "samples": {"steps": 3, "shift": 5.0, "cfg": 3.5, "seed": 5},
    }
    if method != STAGE_0:
        content["model"] = {"base": _once(folder / BASE, lambda path: save_file(wan_state_dict("i2v_2.2"), path))}
        content["exo2egosyn"]["align"] = _tiny(folder, Component.ALIGN)
    if method == STAGE_2:
        content["exo2egosyn"]["multiexocon"] = _tiny(folder, Component.MULTIEXOCON)
        content["lora"]["start"] = _tiny(folder, Component.LORA)
    for given in (chosen, tables):
        content = {key: {**content.get(key, {}), **given.get(key, {})} for key in {*content, *given}}
    return recipe_of(content, folder / "recipe.toml")


def denoising_wan() -> dict[str, Tensor]:
    """Return weights of a tiny Wan 2.2 that takes all data for zero: near pure noise its velocity is what it is given.

    The first tokens are turned latent cells, blocks and noise level add little, and the head turns the cells back.
    """
    weights = wan_state_dict("i2v_2.2")
    cells = torch.linalg.qr(torch.randn(256, 64, generator=torch.Generator().manual_seed(0)))[0]  # (c, row, column)
    weights["patch_embedding.weight"].zero_()[:, :16] = cells.view(256, 16, 1, 2, 2)
    weights["head.head.weight"] = 0.5 * cells.T.reshape(16, 4, 256).transpose(0, 1).reshape(64, 256)
    small = ("patch_embedding.bias", "head.head.bias", "head.modulation", "time_embedding.2")
    for name, value in weights.items():
        if name.startswith(small) or ".o." in name or "ffn.2" in name:
            value.mul_(0.01)
    return weights


@torch.no_grad()
def made_up_weights(network: nn.Module) -> dict[str, Tensor]:
    """Give all that trains random values that show and that bfloat16 holds; returns them by name."""
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    for index, (name, value) in enumerate(trained.items()):
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(index))
        scale = 0.1 if value.ndim < 2 else value[0].numel() ** -0.5
        keeps = "norm" in name or "patch_embed" in name
        value.copy_((noise * scale + (value if keeps else 0)).bfloat16())
    return trained


def exported(method: Method, network: nn.Module, folder: Path) -> list[LoadedComponent]:
    """Return the components that a method writes of a network, read by the pack's loader."""
    trained = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    kinds = {"trained": trained, "average": {}, "optimizer": {}}
    checkpoint = Checkpoint(folder / "step-00000007.safetensors", 7, flat(method.recipe), kinds)
    method.export(checkpoint, folder / "mine.safetensors")
    return [read_component(path) for path in method.files(folder / "mine.safetensors")]


def parts_of(clip: ViewsClip) -> dict[str, Tensor]:
    """Return all parts of a clip by name."""
    return {item.name: getattr(clip, item.name) for item in fields(clip)}


def _tiny(folder: Path, component: Component) -> str:
    return _once(folder / f"tiny_{component.value}.safetensors", lambda path: write_tiny_component(folder, component))


def _once(path: Path, write: Any) -> str:
    if not path.exists():
        write(path)
    return str(path)
