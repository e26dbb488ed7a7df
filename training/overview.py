"""What a recipe comes to before it runs: sizes, clips and where the run stands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..common.messages import gigabytes
from ..common.paths import is_file
from ..networks.components.files import files_of
from ..networks.weights.safetensors_file import read_safetensors
from ..networks.weights.wan_kinds import WAN21_I2V, wan_kind, wan_prefix
from .data.sources import clips_of
from .memory.plan import Planner, plan_lines
from .memory.scaled_files import split_scaled
from .memory.settings import FP8
from .method import Method
from .methods import method_of
from .network.transformer import WanSize, network_for
from .recipe import Recipe
from .state import checkpoint_files
from .trainer import CHECKPOINTS


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


def memory(recipe: Recipe, cards: int = 1) -> list[str]:
    """Return what a recipe takes of memory, in lines. Neither base model nor clips need be there yet.

    Args:
        recipe: all settings.
        cards: processes, each with a card.

    Raises:
        ValueError: if the base model is there and damaged or of another kind.
    """
    expected = method_of(recipe).base_kind
    if expected is None:
        return plan_lines(recipe, None, cards)
    base = recipe.model.base
    if base is None or is_file(base):
        return plan_lines(recipe, _size(recipe, expected), cards)
    size = WanSize() if expected == WAN21_I2V else WanSize(image=0)
    missing = f"There is no file {base} yet: planned with the sizes of {expected}, 14B."
    return [missing, *plan_lines(recipe, size, cards)]


def memory_at_start(recipe: Recipe, cards: int = 1, free: int | None = None) -> list[str]:
    """Return what a training takes that is about to start, in a line, and where it does not fit, what to do.

    Args:
        recipe: all settings; its base model is there.
        cards: processes, each with a card.
        free: bytes that are free on this process's card, None without one.
    """
    expected = method_of(recipe).base_kind
    planner = Planner(None if expected is None else _size(recipe, expected), cards)
    plan = planner.plan(recipe)
    lines = [f"memory{' of each card' if cards > 1 else ''}: {plan.describe()}"]
    if free is not None and plan.total > free:
        lines.append(
            f"The card has {gigabytes(free)} free: it will probably not do. `check --memory` names the settings that "
            "take less."
        )
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
    if recipe.memory.base == FP8:
        plain, _ = split_scaled(plain)
    network_for(plain, base.name, expected)  # whose tensors are all there
    return WanSize.of_tensors(plain, base.name, f"[model] base names {expected}.")


def _weights(method: Method, size: WanSize | None) -> list[str]:
    network = method.empty_network(size)
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    frozen = sum(value.numel() for value in network.parameters() if not value.requires_grad)
    of = [] if size is None else [f"transformer: {size.blocks} blocks of width {size.width}"]
    return [
        *of,
        f"trained: {method.trained()}, {trained:,} parameters",
        f"frozen: {frozen:,} parameters; what all of it takes of memory says `check --memory`",
    ]
