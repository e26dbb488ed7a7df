"""Encoded clips on disk: shards of safetensors, each clip with what it was made from.

A shard holds the parts of a few clips, named by the clip's number in it (`0.exo`, `0.text`), and in its header the
clips' names, sizes and how they were made. A shard appears whole or not at all, so that a run that makes the cache can
be killed and started again, or share a folder with others; what was made in another way is noticed by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...common.whole_file import whole_file
from ...networks.weights.safetensors_file import read_safetensors, write_safetensors
from .clips import CLIP_KINDS, AnyClip, AnyLayout, TrainingClip

FORMAT = "exo2ego_clips"
FORMAT_VERSION = "1"
NEGATIVE_FILE = "negative.safetensors"  # vectors of the negative text, for samples

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


class ClipCache:
    """The clips of a folder. Headers are read at once, clips when they are asked for.

    Raises:
        ValueError: if there is no such folder or no clip in it, or a shard is damaged; it names the file.
    """

    def __init__(self, folder: Path, *, may_be_empty: bool = False) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        for shard in sorted(folder.glob("clips-*.safetensors")):
            self.entries.update((entry.name, entry) for entry in _entries(shard))
        if not self.entries and not may_be_empty:
            raise ValueError(f"There are no clips in {folder}: run `training cache` first, with this recipe.")

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def only(self, names: Iterable[str]) -> None:
        """Forget all clips but some, which have to be there."""
        self.entries = {name: self._entry(name) for name in names}

    def read(self, name: str) -> Any:
        """Return a clip of its kind, mapped from its file.

        Raises:
            ValueError: if its shard is damaged, or it has no such clip.
        """
        entry = self._entry(name)
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
        path = self.folder / NEGATIVE_FILE
        if not path.is_file():
            return None
        return read_safetensors(path, "It holds the negative text of the clips.")[0]["text"]

    def stale(self, name: str, made: Made) -> str | None:
        """Return what differs between how a clip was made and how it would be made now, None if nothing does.

        What one of the two does not name, such as source files that are not here, does not count.
        """
        then = self._entry(name).made
        differs = [key for key, value in made.items() if then.get(key, value) != value]
        return None if not differs else "; ".join(f"{key} was {then[key]}, is {made[key]}" for key in differs)

    def check_fresh(self, names: Sequence[str], made: Mapping[str, Made]) -> None:
        """Check that clips are there and were made as they would be made now.

        Args:
            names: the clips.
            made: how each would be made now.

        Raises:
            ValueError: naming the first that is not.
        """
        if missing := [name for name in names if name not in self]:
            raise ValueError(
                f"{len(missing)} of {len(names)} clips are not in {self.folder}, such as {missing[0]}: run `training "
                "cache`."
            )
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


def write_negative(folder: Path, text: Tensor) -> None:
    """Write the vectors of the negative text [512, text width]."""
    with whole_file(folder / NEGATIVE_FILE) as unfinished:
        write_safetensors(unfinished, {"text": text}, {})


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
        raise ValueError(f"The shard {shard} is truncated or corrupt ({error}). {_AGAIN}") from error
