"""What a recipe comes to before it runs: sizes, clips and where the run stands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..common.messages import gigabytes
from ..networks.components.files import files_of
from ..networks.weights.safetensors_file import read_safetensors
from ..networks.weights.wan_kinds import wan_kind, wan_prefix
from .data.sources import clips_of
from .method import Method
from .methods import method_of
from .network.transformer import WanSize, network_for
from .recipe import Recipe
from .state import checkpoint_files
from .trainer import CHECKPOINTS

_BYTES_OF_ADAM = 4 + 4 + 8  # of a trained number: itself, its gradient, the optimizer's two moments


def overview(recipe: Recipe, folder: Path) -> list[str]:
    """Check a recipe against its files and return what it comes to, in lines.

    Weights are not read: sizes are those of the files' headers, and the network has none.

    Raises:
        ValueError: if base model or clips are missing, damaged, stale or of another kind.
    """
    method = method_of(recipe)
    size = None if method.base_kind is None else _size(recipe, method.base_kind)
    cache = clips_of(recipe, folder)
    method.check_clips(cache)
    held_out = len(cache.held_out)
    sizes = Counter(entry.layout for entry in cache.entries.values())
    lines = [
        *_weights(method, size),
        f"clips: {len(cache.entries) - held_out} to train on, {held_out} held out, in {recipe.data.cache}",
    ]
    lines += [f"  {count} of {layout.describe()}" for layout, count in sizes.items()]
    lines += method.describe()
    files = checkpoint_files(recipe.run.out / CHECKPOINTS)
    lines.append(f"run: {f'goes on from {files[-1].name}' if files else 'begins'} in {recipe.run.out}")
    return lines


def _size(recipe: Recipe, expected: str) -> WanSize:
    base = recipe.model.base
    if base is None:
        return recipe.new
    tensors = {}
    for file in files_of(base):
        tensors |= read_safetensors(file, f"[model] base names {expected}.")[0]
    if (kind := wan_kind(tensors)) != expected:
        raise ValueError(f"[model] base {base.name} is {kind or 'not a Wan transformer'}, not {expected}.")
    prefix = wan_prefix(tensors) or ""
    plain = {name.removeprefix(prefix): value for name, value in tensors.items()}
    network_for(plain, base.name, expected)  # whose tensors are all there
    return WanSize.of_tensors(plain, base.name, f"[model] base names {expected}.")


def _weights(method: Method, size: WanSize | None) -> list[str]:
    recipe, network = method.recipe, method.empty_network(size)
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    frozen = sum(value.numel() for value in network.parameters() if not value.requires_grad)
    average = 4 if recipe.optimizer.ema else 0
    stored = 2 if recipe.run.precision == "bf16" else 4
    of = [] if size is None else [f"transformer: {size.blocks} blocks of width {size.width}"]
    return [
        *of,
        f"trained: {method.trained()}, {trained:,} parameters, {gigabytes(trained * (_BYTES_OF_ADAM + average))} with "
        "gradients and optimizer",
        f"frozen: {frozen:,} parameters, {gigabytes(frozen * stored)}; activations come on top",
    ]
