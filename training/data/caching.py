"""Make the cache of a recipe's takes: what is there and fresh stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.whole_file import NoRoomError
from ..recipe import Recipe
from .cache import ClipCache, write_negative, write_shard
from .sources import clips_to_make, screened_takes, settings_made
from .takes import TakeSource

if TYPE_CHECKING:
    from .encoders import Encoders

Show = Callable[[str], None]


def make_cache(
    recipe: Recipe,
    folder: Path,
    encoders: Callable[[], Encoders],
    show: Show = print,
    part: tuple[int, int] = (1, 1),
) -> int:
    """Encode the clips that are not in the cache, or there in a stale or damaged form; returns how many.

    It may be killed at any moment and started again. Runs that make it together may start at different times: a take
    belongs to one of them whatever is there already.

    Args:
        recipe: all settings.
        folder: from which relative paths of takes are taken.
        encoders: loads the encoders; only called where something has to be encoded.
        show: called with a line for every clip.
        part: (i, n) of n runs, one a card, that make the cache together.

    Raises:
        ValueError: if a take cannot be read or does not fit the recipe, or a damaged shard holds none of its clips;
            clips made before stay.
        NoRoomError: if the disk is full; clips made before stay.
    """
    index, parts = part
    takes = screened_takes(recipe, folder)
    if not takes:
        raise ValueError(
            "[data] takes names no take: list folders in EgoX's layout, DATASET#NAME or Ego-Exo4D's ROOT#TAKE, or set "
            "rooms."
        )
    cache = ClipCache(recipe.data.cache, may_be_empty=True)
    for what in cache.damaged.values():
        show(f"{what.partition(' Delete it')[0]} Its clips are made again.")
    own = list(takes)[index - 1 :: parts]
    due = _due(recipe, cache, {name: takes[name] for name in own})
    if parts == 1:
        show(f"{len(takes)} takes: {len(takes) - len(due)} are in {cache.folder}, {len(due)} to be made")
    else:
        show(
            f"{len(own)} of {len(takes)} takes are part {index} of {parts}: {len(own) - len(due)} are in "
            f"{cache.folder}, {len(due)} to be made"
        )
    needs_negative = index == 1 and not cache.has_negative(recipe.encoders.negative)
    made: list[str] = []
    if due or needs_negative:
        loaded = encoders()
        try:
            _make(recipe, cache, {name: takes[name] for name in due}, loaded, show, made)
            if needs_negative:
                write_negative(cache.folder, loaded.text(recipe.encoders.negative), recipe.encoders.negative)
        except NoRoomError as error:
            raise NoRoomError(
                error.errno, f"{error} {len(made)} clips that this run has made are in the cache and stay."
            ) from error
    if left := list(ClipCache(cache.folder, may_be_empty=True).damaged.values()):
        raise ValueError(f"{len(left)} damaged shards hold no clip of this recipe. {left[0]}")
    return len(made)


def _due(recipe: Recipe, cache: ClipCache, takes: Mapping[str, TakeSource]) -> list[str]:
    """Return the takes of which a clip is missing or stale."""
    settings = settings_made(recipe)

    def is_fresh(name: str) -> bool:
        if not cache.has_all_of(name):
            return False
        wanted = {**settings, **takes[name].made()}
        return all(cache.stale(entry.name, wanted) is None for entry in cache.of_take(name))

    return [name for name in takes if not is_fresh(name)]


def _make(
    recipe: Recipe,
    cache: ClipCache,
    takes: Mapping[str, TakeSource],
    encoders: Encoders,
    show: Show,
    made: list[str],
) -> None:
    """Encode all clips of some takes; their names go to `made` as each is written."""
    from .encoding import clip_encoder

    encode = clip_encoder(recipe, encoders)
    for number, take in enumerate(takes.values(), 1):
        clips = clips_to_make(recipe, take)
        for source in clips:
            clip = encode(source)
            write_shard(cache.folder, {source.name: (clip, source.made)})
            made.append(source.name)
            show(f"{number}/{len(takes)} {source.name}: {clip.layout.describe()}")
        cache.remove_clips(take.name, but={source.name for source in clips})
