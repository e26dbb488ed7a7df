"""Which takes a recipe names, and what their encoded clips depend on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...takes.egox.read import files_of_take
from ...takes.files import split_named
from ..recipe import Recipe
from .cache import ClipCache


@dataclass(frozen=True)
class TakeSource:
    """A take on disk.

    Attributes:
        folder: of the take, or of the dataset.
        inner: the take's name in a dataset, None for a take folder.
    """

    folder: Path
    inner: str | None

    @property
    def name(self) -> str:
        """What the clip is called."""
        return self.folder.name if self.inner is None else self.inner

    def made(self) -> dict[str, str]:
        """Return size and time of the files that are here."""
        stats = {path: path.stat() for path in files_of_take(self.folder, self.inner)}
        return {f"file {path.name}": f"{stat.st_size} bytes of {stat.st_mtime_ns}" for path, stat in stats.items()}


def takes_of(recipe: Recipe, folder: Path) -> dict[str, TakeSource]:
    """Return a recipe's takes by name; relative paths are taken from `folder`.

    Raises:
        ValueError: if two have one name. Whether they are there is seen when they are read.
    """
    found: dict[str, TakeSource] = {}
    for text in recipe.data.takes:
        path, inner = split_named(text, lambda words: _existing(folder / Path(words).expanduser()))
        source = TakeSource(path, inner)
        if source.name in found:
            raise ValueError(f"[data] takes names {source.name} twice: a clip is known by its take's name.")
        found[source.name] = source
    return found


def settings_made(recipe: Recipe) -> dict[str, str]:
    """Return what the clips depend on of a recipe's settings."""
    data, egox = recipe.data, recipe.egox
    made = {
        "frames": str(data.frames),
        "exo_size": "x".join(map(str, data.exo_size)),
        "ego_size": "x".join(map(str, data.ego_size)),
        "picture": "black" if egox.black_picture else "real",
    }
    if egox.guidance() is not None:
        made["geometry"] = egox.resolved_geometry.value
    return made


def clips_of(recipe: Recipe, folder: Path) -> ClipCache:
    """Return the clips that a recipe trains on or holds out, checked to be fresh.

    Without takes those are all clips of the cache. Takes that are not on this machine are known by their names alone.

    Raises:
        ValueError: if a clip is missing, damaged or stale; it names the first.
    """
    cache = ClipCache(recipe.data.cache)
    settings = settings_made(recipe)
    names = list(cache.entries)
    files: dict[str, dict[str, str]] = {}
    if recipe.data.takes:
        takes = _takes_by_name(recipe, folder)
        names = list(takes)
        files = {name: source.made() for name, source in takes.items() if source is not None}
    wanted = [*dict.fromkeys([*names, *recipe.data.held_out])]
    cache.check_fresh(wanted, {name: {**settings, **files.get(name, {})} for name in wanted})
    cache.only(wanted)
    return cache


def _takes_by_name(recipe: Recipe, folder: Path) -> dict[str, TakeSource | None]:
    try:
        return dict(takes_of(recipe, folder))
    except ValueError:
        # On another machine than the takes': names without files.
        return {(text.rpartition("#")[2] if "#" in text else Path(text).name): None for text in recipe.data.takes}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"There is no take {path}. Name a take's folder, or DATASET#NAME.")
    return path
