"""Go over a recipe's takes and tell which are fit to train on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ...common.memory import NotEnoughMemoryError
from ...wan.egox.prompt import estimated_tokens
from ..data.clips import TrainingClip
from ..data.encoding import EGO_VIEWS, misfits
from ..data.screened import Verdict, read_screened, write_screened
from ..data.sources import clip_of, takes_of
from ..data.takes import RoomTake, TakeSource, digest
from ..recipe import Recipe
from .findings import Findings
from .images import check_prior, check_views
from .page import PAGE, write_page
from .poses import check_path, check_prior_agrees, check_scale, check_seen
from .sheet import marked, moments_of, write_sheet
from .texts import Count, check_text

LIST, SHEETS = "screened.json", "sheets"
_SAVED_EVERY = 25  # takes

_Row = tuple[str, Tensor | None]


def screen(
    recipe: Recipe, folder: Path, out: Path | None = None, show: Callable[[str], None] = print
) -> tuple[list[Verdict], Path]:
    """Look at every take of a recipe; what was looked at before, and has not changed since, is not looked at again.

    Rooms are exact and not looked at.

    Args:
        recipe: all settings; those of `[screen]` are the limits.
        folder: from which relative paths of takes are taken.
        out: folder of list, page and contact sheets; by default where `[data] screened` lies, or `screening`.
        show: called with a line for every take.

    Returns:
        What was found of each take, and the page.

    Raises:
        ValueError: if the recipe names no take, or one that is not there.
    """
    takes = {name: take for name, take in takes_of(recipe, folder).items() if not isinstance(take, RoomTake)}
    if not takes:
        raise ValueError("[data] takes names no take to look at; the rooms are exact.")
    given = recipe.data.screened
    path = (out / (given.name if given else LIST)) if out else (given or folder / "screening" / LIST)
    count, counted_by = _token_count(recipe)
    if recipe.clip_kind == TrainingClip.kind:
        show(f"tokens of the texts: {counted_by}")
    limits = digest({**asdict(recipe.screen), "method": recipe.clip_kind, "data": _of_data(recipe), "by": counted_by})
    earlier = _earlier(path)
    verdicts: list[Verdict] = []
    for number, (name, take) in enumerate(takes.items(), 1):
        made = {"settings": limits, **_files_of(take)}
        known = earlier.get(name)
        if known is not None and known.made == made and (known.sheet is None or (path.parent / known.sheet).is_file()):
            verdicts.append(known)
        else:
            verdicts.append(look_at(take, recipe, path.parent, count, made))
        show(f"{number}/{len(takes)} {name}: {'; '.join(verdicts[-1].reasons.values()) or 'kept'}")
        if number % _SAVED_EVERY == 0:
            write_screened(path, [*verdicts, *(earlier[left] for left in list(takes)[number:] if left in earlier)])
    write_screened(path, verdicts)
    return verdicts, write_page(path.parent / PAGE, verdicts, path.name)


def look_at(source: TakeSource, recipe: Recipe, folder: Path, count: Count, made: Mapping[str, str]) -> Verdict:
    """Look at one take.

    Args:
        source: the take.
        recipe: all settings.
        folder: where its contact sheet is written, below `SHEETS`.
        count: number of tokens of a text.
        made: what the verdict depends on.

    Returns:
        What was found; a take that cannot be read is one that is rejected.
    """
    found = Findings()
    rows: Sequence[_Row] = ()
    try:
        if recipe.clip_kind == TrainingClip.kind:
            rows, moments = _look_at_egox(source, recipe, found, count)
        else:
            rows, moments = _look_at_views(source, recipe, found)
    except NotEnoughMemoryError:
        raise  # that is this machine's, not the take's
    except (ValueError, OSError) as error:
        found.reasons["unreadable"] = str(error)
    sheet = None
    if rows:
        sheet = f"{SHEETS}/{_file_name(source.name)}.png"
        write_sheet(folder / sheet, rows, moments)
    return Verdict(source.name, found.reasons, tuple(found.notes), found.measured, made, sheet)


def _look_at_egox(
    source: TakeSource, recipe: Recipe, found: Findings, count: Count
) -> tuple[Sequence[_Row], Sequence[int]]:
    data, settings = recipe.data, recipe.screen
    take = source.take(data.frames, data.exo_size, data.ego_size)
    check_text(take.prompt, settings, found, count)
    found.reasons.update(misfits(take, recipe))
    views = {"exo view": take.exo, "true ego view": take.ego_truth}
    check_views({name: frames for name, frames in views.items() if frames is not None}, found)
    if take.ego_prior is not None:
        check_prior(take.ego_prior, settings, found)
    check_path(take.ego_camera, take.fps, settings, found)
    check_scale(take, settings, found)
    moments = moments_of(take.n_frames)
    rendered = check_prior_agrees(take, moments, settings, found)
    rows = [
        ("exo, with the ego camera's place", marked(take.exo, take.exo_camera, take.ego_camera, moments)),
        ("true ego view", take.ego_truth),
        ("ego prior", take.ego_prior),
        ("ego prior from depth and poses", torch.stack(rendered)),
    ]
    return rows, moments


def _look_at_views(source: TakeSource, recipe: Recipe, found: Findings) -> tuple[Sequence[_Row], Sequence[int]]:
    n_views = recipe.exo2egosyn.views
    length = source.n_frames()
    span = clip_of(recipe, 0).span
    start = 0 if length is None else max(0, length - span) // 2
    take = source.views(clip_of(recipe, start), EGO_VIEWS[recipe.exo2egosyn.rays])
    if len(take.exo) < n_views:
        found.reasons["views"] = f"It has {len(take.exo)} exo views, and [exo2egosyn] views says {n_views}."
    found.notes.extend(take.remarks)
    check_views({**{f"exo view {view.name}": view.frames for view in take.exo}, "ego view": take.ego}, found)
    check_path(take.ego_camera, take.fps, recipe.screen, found)
    check_seen(take, found)
    moments = moments_of(take.n_frames)
    rows: list[_Row] = [
        (f"{view.name}, with the ego camera's place", marked(view.frames, view.camera, take.ego_camera, moments))
        for view in take.exo
    ]
    return [*rows, ("ego view", take.ego)], moments


def _token_count(recipe: Recipe) -> tuple[Count, str]:
    """Return what counts the tokens of a text, and what people are told of it."""
    folder = recipe.encoders.folder
    if folder is None or not (folder / "tokenizer").is_dir():
        return estimated_tokens, "estimated from the words, as [encoders] folder has no tokenizer"
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return (
        lambda text: len(tokenizer(" ".join(text.split())).input_ids),
        f"counted by the tokenizer of {folder.name}",
    )


def _of_data(recipe: Recipe) -> list:
    data, syn = recipe.data, recipe.exo2egosyn
    return [data.frames, list(data.exo_size), list(data.ego_size), syn.views, syn.frame_stride, syn.rays]


def _files_of(take: TakeSource) -> dict[str, str]:
    try:
        return take.made()
    except (ValueError, OSError):
        return {}  # looking at it says what is wrong


def _earlier(path: Path) -> dict[str, Verdict]:
    return read_screened(path) if path.is_file() else {}


def _file_name(name: str) -> str:
    """Return a take's name as a file's: plain letters, and a digest where others were left out."""
    plain = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
