"""Make the cache of a recipe's takes: what is there and fresh stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...takes.egox.read import read_dataset_take, read_take
from ...takes.take import Take
from ..recipe import Recipe
from .cache import ClipCache, write_negative, write_shard
from .encoders import encode_take
from .sources import TakeSource, settings_made, takes_of

if TYPE_CHECKING:
    from .encoders import Encoders


def make_cache(
    recipe: Recipe,
    folder: Path,
    encoders: Callable[[], Encoders],
    show: Callable[[str], None] = print,
    part: tuple[int, int] = (1, 1),
) -> int:
    """Encode the takes that are not in the cache, or there in a stale form; returns how many.

    It may be killed at any moment and started again.

    Args:
        recipe: all settings.
        folder: from which relative paths of takes are taken.
        encoders: loads the encoders; only called where something has to be encoded.
        show: called with a line for every clip.
        part: (i, n) of n runs, one a card, that make the cache together.

    Raises:
        ValueError: if a take cannot be read or does not fit the recipe; clips made before stay.
    """
    index, parts = part
    takes = takes_of(recipe, folder)
    if not takes:
        raise ValueError("[data] takes names no take: list folders in EgoX's layout, or DATASET#NAME.")
    cache = ClipCache(recipe.data.cache, may_be_empty=True)
    settings = settings_made(recipe)
    wanted = {name: {**settings, **source.made()} for name, source in takes.items()}
    due = [name for name in takes if name not in cache or cache.stale(name, wanted[name]) is not None]
    mine = due[index - 1 :: parts]
    show(f"{len(takes)} takes: {len(takes) - len(due)} are in {recipe.data.cache}, {len(mine)} to be made")
    loaded = None
    if mine or (cache.negative() is None and index == 1):
        loaded = encoders()
    for number, name in enumerate(mine, 1):
        assert loaded is not None
        clip = encode_take(_read(takes[name], recipe.data.frames), loaded, recipe)
        write_shard(recipe.data.cache, {name: (clip, wanted[name])})
        show(f"{number}/{len(mine)} {name}: {clip.layout.n_tokens} tokens")
    if loaded is not None and index == 1:
        write_negative(recipe.data.cache, loaded.text(recipe.encoders.negative))
    return len(mine)


def _read(source: TakeSource, frames: int) -> Take:
    if source.inner is None:
        return read_take(source.folder, max_frames=frames)
    return read_dataset_take(source.folder, source.inner, max_frames=frames)
