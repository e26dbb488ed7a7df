"""Encoded clips on disk: shards of safetensors, each clip with what it was made from.

A shard holds the parts of a few clips, named by the clip's number in it (`0.exo`, `0.text`), and in its header the
clips' names, sizes and how they were made. A shard appears whole or not at all, so that a run that makes the cache can
be killed and started again, or share a folder with others; what was made in another way is noticed by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...common.whole_file import whole_file
from ...networks.weights.safetensors_file import read_safetensors, write_safetensors
from .clips import CLIP_KINDS, AnyClip, AnyLayout, TrainingClip

FORMAT = "exo2ego_clips"
FORMAT_VERSION = "1"
NEGATIVE_FILE = "negative.safetensors"  # vectors of the negative text, for samples

# Of how a clip was made: its take, what stays together when takes are split, and how many clips the take has.
TAKE, GROUP, OF = "take", "group", "of"

PROMPT = "prompt"  # of the negative text's file

_AGAIN = "Delete it and run `training cache` again, which makes what is missing alone."

# What a clip was made by and from, such as {"geometry": "physical"} or {"file exo.mp4": "1234 bytes, ..."}.
Made = Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """A clip in a cache.

    Attributes:
        name: of the clip.
        shard: the file that holds it.
        number: its place there.
        made: how it was made.
        layout: its sizes.
        kind: which clip it is, a key of `CLIP_KINDS`.
    """

    name: str
    shard: Path
    number: int
    made: Made
    layout: AnyLayout
    kind: str = TrainingClip.kind

    @property
    def take(self) -> str:
        """The take that it is cut from; clips of older caches have their take's name."""
        return self.made.get(TAKE, self.name)

    @property
    def group(self) -> str:
        """What it stays together with when takes are split."""
        return self.made.get(GROUP, self.take)


class DamagedShardError(ValueError):
    """A shard that is truncated, corrupt or of another version."""


class ClipCache:
    """The clips of a folder. Headers are read at once, clips when they are asked for.

    Args:
        folder: of the cache.
        may_be_empty: for who makes it: it may be empty, and damaged shards are noted, their clips not there.

    Attributes:
        entries: clips by name.
        held_out: names of those that are not trained on.
        damaged: what is wrong with the shards that cannot be read, by their files.

    Raises:
        ValueError: if there is no such folder or no clip in it, or a shard is damaged; it names the file.
    """

    def __init__(self, folder: Path, *, may_be_empty: bool = False) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.held_out: tuple[str, ...] = ()
        self.damaged: dict[Path, str] = {}
        self._by_take: dict[str, list[Entry]] | None = None
        self._held: dict[str, Any] = {}
        for shard in sorted(folder.glob("clips-*.safetensors")):
            try:
                self.entries.update((entry.name, entry) for entry in _entries(shard))
            except DamagedShardError as error:
                if not may_be_empty:
                    raise
                self.damaged[shard] = str(error)
        if not self.entries and not may_be_empty:
            raise ValueError(f"There are no clips in {folder}: run `training cache` first, with this recipe.")

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def of_take(self, take: str) -> list[Entry]:
        """Return a take's clips."""
        if self._by_take is None:
            self._by_take = {}
            for entry in self.entries.values():
                self._by_take.setdefault(entry.take, []).append(entry)
        return self._by_take.get(take, [])

    def has_all_of(self, take: str) -> bool:
        """Whether all clips of a take are there."""
        entries = self.of_take(take)
        return bool(entries) and len(entries) == int(entries[0].made.get(OF, "1"))

    def remove_clips(self, take: str, but: Container[str]) -> None:
        """Remove the shards of a take's clips that are no longer cut from it, where they hold nothing else."""
        for entry in self.of_take(take):
            others = [other for other in self.entries.values() if other.shard == entry.shard and other.take != take]
            if entry.name not in but and not others:
                entry.shard.unlink(missing_ok=True)

    def only(self, names: Iterable[str], held_out: Iterable[str]) -> None:
        """Forget all clips but some, which have to be there, and note which of them are held out."""
        self.entries = {name: self._entry(name) for name in names}
        self.held_out = tuple(held_out)
        self._by_take = None

    def hold(self, device: torch.device | str) -> None:
        """Keep all clips on a device, for a training whose steps are shorter than it takes to open their files."""
        for name in self.entries:
            parts = self.read(name).tensors()
            self._held[name] = CLIP_KINDS[self.entries[name].kind][0](
                **{part: tensor.to(device) for part, tensor in parts.items()}
            )

    def read(self, name: str) -> Any:
        """Return a clip of its kind, mapped from its file, or as it is held.

        Raises:
            ValueError: if its shard is damaged, or it has no such clip.
        """
        entry = self._entry(name)
        if name in self._held:
            return self._held[name]
        try:
            with safe_open(str(entry.shard), framework="pt") as file:
                parts = {
                    key.split(".", 1)[1]: file.get_tensor(key)
                    for key in file.keys()  # noqa: SIM118  no mapping
                    if key.startswith(f"{entry.number}.")
                }
            return CLIP_KINDS[entry.kind][0](**parts)
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise ValueError(f"The clip {name} of {entry.shard} cannot be read ({error}). {_AGAIN}") from error

    def negative(self) -> Tensor | None:
        """Return the vectors of the negative text [512, text width], where the cache has them."""
        found = self._negative()
        return None if found is None else found[0]["text"]

    def has_negative(self, prompt: str) -> bool:
        """Whether the vectors of a negative text are there; files of older caches do not tell which text they hold."""
        found = self._negative()
        return found is not None and found[1].get(PROMPT, prompt) == prompt

    def check_negative(self, prompt: str) -> None:
        """Check that the negative text, where the cache has one, is the recipe's.

        Raises:
            ValueError: if it is another.
        """
        if self._negative() is not None and not self.has_negative(prompt):
            raise ValueError(
                f"{self.folder / NEGATIVE_FILE} is stale: it was made of another text than [encoders] negative says. "
                "Run `training cache`, which makes it again."
            )

    def _negative(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        path = self.folder / NEGATIVE_FILE
        return read_safetensors(path, f"It holds the negative text of the clips. {_AGAIN}") if path.is_file() else None

    def stale(self, name: str, made: Made) -> str | None:
        """Return what differs between how a clip was made and how it would be made now, None if nothing does.

        What one of the two does not name, such as source files that are not here, does not count.
        """
        then = self._entry(name).made
        differs = [key for key, value in made.items() if then.get(key, value) != value]
        return None if not differs else "; ".join(f"{key} was {then[key]}, is {made[key]}" for key in differs)

    def check_whole(self, takes: Iterable[str]) -> None:
        """Check that all clips of some takes are there.

        Raises:
            ValueError: naming the first take without.
        """
        takes = list(takes)
        if missing := [take for take in takes if not self.has_all_of(take)]:
            raise ValueError(
                f"{len(missing)} of {len(takes)} takes are not all in {self.folder}, such as {missing[0]}: run "
                "`training cache`."
            )

    def check_fresh(self, names: Sequence[str], made: Mapping[str, Made]) -> None:
        """Check that clips are there and were made as they would be made now.

        Args:
            names: the clips.
            made: how each would be made now.

        Raises:
            ValueError: naming the first that is not.
        """
        for name in names:
            if (what := self.stale(name, made.get(name, {}))) is not None:
                raise ValueError(
                    f"The clip {name} in {self.folder} is stale ({what}): run `training cache`, which makes it again."
                )

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise ValueError(f"There is no clip {name} in {self.folder}: run `training cache`.")
        return self.entries[name]


def write_shard(folder: Path, clips: Mapping[str, tuple[AnyClip, Made]]) -> Path:
    """Write clips, with how they were made, into one shard; returns the file.

    Its name follows from the clips' names: who makes them again takes the place of what was there.
    """
    tensors: dict[str, Tensor] = {}
    entries = []
    for number, (name, (clip, made)) in enumerate(clips.items()):
        tensors |= {f"{number}.{part}": tensor for part, tensor in clip.tensors().items()}
        sizes = list(astuple(clip.layout))
        entries.append({"name": name, "layout": sizes, "made": dict(made), "kind": clip.kind})
    digest = hashlib.sha256(json.dumps(list(clips)).encode()).hexdigest()[:16]
    path = folder / f"clips-{digest}.safetensors"
    strings = {"format": FORMAT, "format_version": FORMAT_VERSION, "clips": json.dumps(entries)}
    with whole_file(path) as unfinished:
        write_safetensors(unfinished, tensors, strings)
    return path


def write_negative(folder: Path, text: Tensor, prompt: str = "") -> None:
    """Write the vectors of the negative text [512, text width], and the text itself."""
    with whole_file(folder / NEGATIVE_FILE) as unfinished:
        write_safetensors(unfinished, {"text": text}, {PROMPT: prompt})


def _entries(shard: Path) -> list[Entry]:
    try:
        with safe_open(str(shard), framework="pt") as file:
            strings = file.metadata() or {}
        if strings.get("format") != FORMAT or strings.get("format_version") != FORMAT_VERSION:
            raise ValueError("it is not a shard of clips, or one of another version")
        entries = []
        for number, item in enumerate(json.loads(strings["clips"])):
            kind = item.get("kind", TrainingClip.kind)  # older shards name none
            layout = CLIP_KINDS[kind][1](*item["layout"])
            entries.append(Entry(item["name"], shard, number, item["made"], layout, kind))
        return entries
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedShardError(f"The shard {shard} is truncated or corrupt ({error}). {_AGAIN}") from error
