"""Which takes and clips a recipe names, what their encoded clips depend on, and on which side of the split they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ...common.paths import is_file
from ...takes.ego_exo4d.layout import TAKES_FILE, takes_on_disk
from ...takes.egox.read import META_FILE, names_in_meta
from ...takes.files import split_named
from ...takes.views import Clip
from ..recipe import Recipe
from .cache import GROUP, OF, TAKE, ClipCache, Entry
from .clips import ViewsClip
from .encoder_files import encoders_made
from .screened import kept
from .takes import EgoExo4DTake, EgoXTake, RoomTake, TakeSource

ALL_TAKES = "*"


@dataclass(frozen=True)
class ClipSource:
    """A clip that is to be encoded.

    Attributes:
        name: of the clip.
        take: that it is cut from.
        start: source frames after the start of the take's task.
        made: what it depends on.
    """

    name: str
    take: TakeSource
    start: int
    made: Mapping[str, str]


def takes_of(recipe: Recipe, folder: Path) -> dict[str, TakeSource]:
    """Return a recipe's takes and rooms by name, rejected ones as well; relative paths are taken from `folder`.

    Raises:
        ValueError: if a folder is not there, or two takes have one name. What else is wrong is seen when they are read.
    """
    found: dict[str, TakeSource] = {}
    for source in _sources(recipe, folder):
        if source.name in found:
            raise ValueError(f"[data] names {source.name} twice: a clip is known by its take's name.")
        found[source.name] = source
    return found


def screened_takes(recipe: Recipe, folder: Path) -> dict[str, TakeSource]:
    """Return a recipe's takes and rooms by name without those that its list of `training screen` rejects.

    Raises:
        ValueError: as `takes_of`; if the list is not there or does not know a take, and if it leaves none.
    """
    takes = takes_of(recipe, folder)
    return {name: takes[name] for name in _kept(recipe, takes, rooms=[n for n, t in takes.items() if _is_room(t)])}


def settings_made(recipe: Recipe) -> dict[str, str]:
    """Return what the clips depend on of a recipe's settings."""
    data, egox, syn = recipe.data, recipe.egox, recipe.exo2egosyn
    made = {
        "method": recipe.clip_kind,
        "frames": str(data.frames),
        "exo_size": "x".join(map(str, data.exo_size)),
        "ego_size": "x".join(map(str, data.ego_size)),
        **encoders_made(recipe.encoders.folder),
    }
    if recipe.clip_kind == ViewsClip.kind:
        return {
            **made,
            "views": str(syn.views),
            "frame_stride": str(syn.frame_stride),
            "rays": syn.rays,
            "clips": str(data.clips),
        }
    made["picture"] = "black" if egox.black_picture else "real"
    if egox.guidance() is not None:
        made["geometry"] = egox.resolved_geometry.value
    return made


def clip_of(recipe: Recipe, start: int) -> Clip:
    """Return which frames of a take a clip of Exo2EgoSyn has; its images have the longer side of the ego view."""
    data = recipe.data
    return Clip(start, data.frames, recipe.exo2egosyn.frame_stride, max(data.ego_size))


def clips_to_make(recipe: Recipe, take: TakeSource) -> list[ClipSource]:
    """Return a take's clips as a recipe cuts them: the first frames, or evenly spread over a long take's task.

    A lone clip has its take's name and lies in the middle of a long one; several are numbered, NAME@1 and on.

    Raises:
        ValueError: if the take's files cannot be read.
    """
    length = take.n_frames() if recipe.clip_kind == ViewsClip.kind else None
    starts = [0]
    if length is not None:
        span = clip_of(recipe, 0).span
        last = max(0, length - span)  # reading a take that is too short says so
        count = max(1, min(recipe.data.clips, length // span))
        starts = [last // 2] if count == 1 else [last * place // (count - 1) for place in range(count)]
    made = {**settings_made(recipe), **take.made(), TAKE: take.name, GROUP: take.group, OF: str(len(starts))}
    if len(starts) == 1:
        return [ClipSource(take.name, take, starts[0], made)]
    return [ClipSource(f"{take.name}@{place}", take, start, made) for place, start in enumerate(starts, 1)]


def clips_of(recipe: Recipe, folder: Path) -> ClipCache:
    """Return the clips that a recipe trains on or holds out, checked to be fresh; the cache tells which are held out.

    Without takes those are all clips of the cache. Takes that are not on this machine are known by their names alone.

    Raises:
        ValueError: if a clip is missing, damaged or stale; it names the first.
    """
    cache = ClipCache(recipe.data.cache)
    cache.check_negative(recipe.encoders.negative)
    settings = settings_made(recipe)
    takes = _takes_by_name(recipe, folder, cache)
    if takes is None:
        entries = list(cache.entries.values())
    else:
        entries = [entry for name in takes for entry in cache.of_take(name)]
    names = [entry.name for entry in entries]
    held_out = _held_out(recipe, cache, entries)
    wanted = [*dict.fromkeys([*names, *held_out])]
    if takes is not None:
        cache.check_whole(takes)
    files = {} if takes is None else {name: take.made() for name, take in takes.items() if take is not None}
    made = {name: {**settings, **files.get(cache.entries[name].take, {})} for name in wanted}
    cache.check_fresh(wanted, made)
    cache.only(wanted, held_out)
    return cache


def share_of(group: str) -> float:
    """Return a number in [0, 1) that follows from a recording's name: those below `[data] split` are held out."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def _held_out(recipe: Recipe, cache: ClipCache, entries: Iterable[Entry]) -> list[str]:
    """Return the names of the clips that are held out: by name, by their take's, or by the split."""
    data = recipe.data
    found: list[str] = []
    for name in data.held_out:
        clips = [entry.name for entry in cache.entries.values() if name in (entry.name, entry.take, entry.group)]
        if not clips:
            raise ValueError(f"[data] held_out names {name}, which is not in {cache.folder}: run `training cache`.")
        found += clips
    found += [entry.name for entry in entries if share_of(entry.group) < data.split]
    return list(dict.fromkeys(found))


def _takes_by_name(recipe: Recipe, folder: Path, cache: ClipCache) -> dict[str, TakeSource | None] | None:
    """Return takes by name, without those that are rejected; None stands for those of another machine.

    Without any named, None: all that the cache has. A pattern that leads nowhere here chooses among those.
    """
    data = recipe.data
    if not data.takes and data.rooms is None:
        if data.screened is None:
            return None
        takes: dict[str, TakeSource | None] = {entry.take: None for entry in cache.entries.values()}
        return {name: takes[name] for name in _kept(recipe, takes)}
    try:
        return dict(screened_takes(recipe, folder))
    except _NotHereError:
        names = [text.rpartition("#")[2] if "#" in text else Path(text).name for text in data.takes]
        cached = dict.fromkeys(entry.take for entry in cache.entries.values())
        names = [
            take
            for name in names
            for take in ([n for n in cached if fnmatchcase(n, name)] if _is_pattern(name) else [name])
        ]
        rooms = {take.name: take for take in _rooms(recipe)}
        found = {**dict.fromkeys(names), **rooms}
        return {name: found[name] for name in _kept(recipe, found, rooms=rooms)}


def _kept(recipe: Recipe, names: Iterable[str], rooms: Iterable[str] = ()) -> list[str]:
    """Return the names that the recipe's list keeps; rooms are exact and not screened."""
    names, rooms = list(names), set(rooms)
    if recipe.data.screened is None:
        return names
    fit = set(kept(recipe.data.screened, [name for name in names if name not in rooms])) | rooms
    if names and not fit:
        raise ValueError(f"[data] screened: {recipe.data.screened} rejects all {len(names)} takes: look at its report.")
    return [name for name in names if name in fit]


class _NotHereError(ValueError):
    """A folder of the recipe is not on this machine."""


def _sources(recipe: Recipe, folder: Path) -> Iterable[TakeSource]:
    for text in recipe.data.takes:
        path, inner = split_named(text, lambda words: _existing(folder / Path(words).expanduser()))
        is_ego_exo4d = is_file(path / TAKES_FILE)
        if inner is None and is_ego_exo4d:
            raise ValueError(f"{path} is a folder of Ego-Exo4D: name a take in it, {text}#TAKE, or all, {text}#*.")
        for name in _takes_like(inner, path, is_ego_exo4d) if _is_pattern(inner) else (inner,):
            yield EgoExo4DTake(path, name) if is_ego_exo4d else EgoXTake(path, name)
    yield from _rooms(recipe)


def _is_pattern(name: str | None) -> bool:
    return name is not None and ALL_TAKES in name


def _takes_like(pattern: str, path: Path, is_ego_exo4d: bool) -> list[str]:
    if is_ego_exo4d:
        names = takes_on_disk(Path(path.resolve().anchor), path.resolve())
    else:
        names = [name for name in names_in_meta(path / META_FILE) if name]
    if not names:
        raise ValueError(f"There is no take in {path}: expected EgoX's {META_FILE}, or Ego-Exo4D's {TAKES_FILE}.")
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise ValueError(f"There is no take called {pattern} in {path}, which has {len(names)}, such as {names[0]}.")
    return found


def _rooms(recipe: Recipe) -> list[RoomTake]:
    first, count = recipe.data.rooms or (0, 0)
    return [RoomTake(number) for number in range(first, first + count)]


def _is_room(take: TakeSource) -> bool:
    return isinstance(take, RoomTake)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise _NotHereError(f"There is no take {path}. Name a take's folder, DATASET#NAME or ROOT#TAKE.")
    return path
