"""What a recipe comes to before it runs: sizes, clips and where the run stands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import nn

from ..common.messages import gigabytes
from ..networks.components.files import files_of
from ..networks.weights.safetensors_file import read_safetensors
from ..networks.weights.wan_kinds import WAN21_I2V, wan_kind, wan_prefix
from .data.sources import clips_of
from .network.lora import add_lora
from .network.transformer import WanSize, empty_transformer, network_for
from .recipe import LORA, Recipe
from .state import checkpoint_files
from .trainer import CHECKPOINTS

_BYTES_OF_ADAM = 4 + 4 + 8  # of a trained number: itself, its gradient, the optimizer's two moments


def overview(recipe: Recipe, folder: Path) -> list[str]:
    """Check a recipe against its files and return what it comes to, in lines.

    Weights are not read: sizes are those of the files' headers, and the network has none.

    Raises:
        ValueError: if base model or clips are missing, damaged, stale or of another kind.
    """
    size = _size(recipe)
    cache = clips_of(recipe, folder)
    held_out = len(recipe.data.held_out)
    sizes = Counter(entry.layout for entry in cache.entries.values())
    lines = [
        *_weights(recipe, size),
        f"clips: {len(cache.entries) - held_out} to train on, {held_out} held out, in {recipe.data.cache}",
    ]
    for layout, count in sizes.items():
        lines.append(
            f"  {count} of {layout.frames} latent frames, {layout.rows} rows, {layout.exo_columns} exo and "
            f"{layout.ego_columns} ego columns: {layout.n_tokens} tokens"
        )
    guidance = recipe.egox.guidance()
    guided = "off"
    if guidance is not None:
        form = f"{guidance.bias.form.value}, lambda {guidance.bias.strength:g}"
        guided = f"{form}, directions {recipe.egox.resolved_geometry.value}"
    lines.append(f"{recipe.egox.match}; GGA: {guided}")
    files = checkpoint_files(recipe.run.out / CHECKPOINTS)
    lines.append(f"run: {f'goes on from {files[-1].name}' if files else 'begins'} in {recipe.run.out}")
    return lines


def _size(recipe: Recipe) -> WanSize:
    base = recipe.model.base
    if base is None:
        return recipe.new
    tensors = {}
    for file in files_of(base):
        tensors |= read_safetensors(file, "[model] base names Wan 2.1 I2V.")[0]
    if (kind := wan_kind(tensors)) != WAN21_I2V:
        raise ValueError(f"[model] base {base.name} is {kind or 'not a Wan transformer'}, not {WAN21_I2V}.")
    prefix = wan_prefix(tensors) or ""
    plain = {name.removeprefix(prefix): value for name, value in tensors.items()}
    network_for(plain, base.name)  # whose tensors are all there
    return WanSize.of_tensors(plain, base.name)


def _weights(recipe: Recipe, size: WanSize) -> list[str]:
    network: nn.Module = empty_transformer(size)
    if recipe.model.trained == LORA:
        with torch.device("meta"):
            add_lora(network, recipe.lora, recipe.run.seed)
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    frozen = sum(value.numel() for value in network.parameters() if not value.requires_grad)
    average = 4 if recipe.optimizer.ema else 0
    stored = 2 if recipe.run.precision == "bf16" else 4
    what = f"LoRA of rank {recipe.lora.rank}" if recipe.model.trained == LORA else "all weights"
    of = f"{size.blocks} blocks of width {size.width}"
    return [
        f"transformer: {of}",
        f"trained: {what}, {trained:,} parameters, {gigabytes(trained * (_BYTES_OF_ADAM + average))} with gradients "
        "and optimizer",
        f"frozen: {frozen:,} parameters, {gigabytes(frozen * stored)}; activations come on top",
    ]
