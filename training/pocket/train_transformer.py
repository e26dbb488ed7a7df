"""The pocket transformer: EgoX from nothing, or from another pocket model, by the project's trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...networks.pocket_files import pocket_file
from ..data.cache import ClipCache
from ..data.clips import AnyLayout, ClipBatch
from ..data.order import ClipOrder, NarrowedOrder
from ..network.constant_text import ignore_text
from ..network.egox import EgoX
from ..network.transformer import new_transformer
from ..noise import draw
from ..recipe import Recipe
from ..state import checkpoint_files, newest_checkpoint
from ..trainer import CHECKPOINTS, Trainer
from .export import read_stock_transformer
from .plan import PocketPlan
from .shown import ShownMethod
from .start import fit_head, start_quiet
from .timed import train_until

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

_STILLS_SHARE = 0.85  # of the steps: after them clips of one frame are left out
_FITTED_AT_ONCE = 8  # clips, for the fit of the last layer


def open_training(plan: PocketPlan, method: ShownMethod | None = None) -> Trainer:
    """Return the transformer's training at its newest checkpoint, at the plan's start, or at the copy of the prior.

    Args:
        plan: the plan.
        method: with another recipe than the plan's, or one that shows the model less.
    """
    from accelerate import Accelerator

    method = method or ShownMethod(plan.recipe())
    recipe = method.recipe
    cache = ClipCache(recipe.data.cache)
    held_out = recipe.data.held_out
    trained = [name for name in cache.entries if not plan.is_held_out(name)]
    cache.only([*trained, *held_out], held_out)
    begins = not checkpoint_files(recipe.run.out / CHECKPOINTS)
    if plan.start is None:
        network = new_transformer(recipe.new, recipe.run.seed)
        ignore_text(network)
        start_quiet(network)
    else:
        network = read_stock_transformer(pocket_file("diffusion_models", plan.start), recipe.new)
    model = EgoX(network, recipe.egox.guidance(), masks_last_frame=recipe.egox.masks_last_frame).to(plan.device)
    on_cpu = torch.device(plan.device).type == "cpu"
    if not on_cpu:
        cache.hold(plan.device)
    if begins and plan.start is None:
        fit_head(model, _first_batches(method, cache, plan.device))
    mixed = "bf16" if recipe.run.precision == "bf16" else "no"
    trainer = Trainer(method, model, cache, Accelerator(mixed_precision=mixed, cpu=on_cpu))
    trainer.order = order_of(trainer, recipe.run.steps)
    return trainer


def order_of(trainer: Trainer, steps: int) -> NarrowedOrder:
    """Return in which order a training of so many steps meets its clips: at last only those of several frames."""
    recipe, cache = trainer.recipe, trainer.cache
    first, later = (
        {
            name: entry.layout
            for name, entry in cache.entries.items()
            if name not in cache.held_out and entry.layout.frames >= fewest
        }
        for fewest in (1, 2)
    )
    orders = (ClipOrder(names, recipe.run.batch, recipe.run.seed) for names in (first, later or first))
    return NarrowedOrder(*orders, after=int(_STILLS_SHARE * steps))


def train_transformer(plan: PocketPlan, show: Callable[[str], None] = print, method: ShownMethod | None = None) -> str:
    """Train the transformer to its last step, or until the plan's time is over; returns why it ended."""
    return train_until(open_training(plan, method), plan.until, show)


def trained_transformer(recipe: Recipe) -> tuple[WanTransformer3DModel, int]:
    """Return the transformer that a recipe has trained so far, its average, and the number of its steps.

    Raises:
        ValueError: if it has not been trained.
    """
    network = new_transformer(recipe.new, recipe.run.seed)
    ignore_text(network)
    checkpoint = newest_checkpoint(recipe.run.out / CHECKPOINTS)
    if checkpoint is None:
        raise ValueError(f"There is no checkpoint in {recipe.run.out / CHECKPOINTS}: run the stage transformer first.")
    best = {name.removeprefix("transformer."): value for name, value in checkpoint.best.items()}
    network.load_state_dict(best, strict=False)
    return network, checkpoint.step


def _first_batches(
    method: ShownMethod, cache: ClipCache, device: str, n_clips: int = 256
) -> Iterator[tuple[ClipBatch, Tensor, Tensor]]:
    """Yield clips as they are shown, with noise, for the fit of the last layer."""
    recipe = method.recipe
    by_layout: dict[AnyLayout, list[str]] = {}
    names = [name for name in sorted(cache.entries) if name not in cache.held_out]
    for name in names[:: max(1, len(names) // n_clips)]:
        by_layout.setdefault(cache.entries[name].layout, []).append(name)
    for alike in by_layout.values():
        for first in range(0, len(alike), _FITTED_AT_ONCE):
            clips = ClipBatch.of([cache.read(name) for name in alike[first : first + _FITTED_AT_ONCE]], device)
            items = range(first, first + len(clips))
            draws = draw(clips.ego.shape[1:], recipe.noise, recipe.run.seed, -1, items).to(clips.ego)
            yield method.shows(clips, draws.levels, draws.chances.tolist()), draws.noise, draws.levels
