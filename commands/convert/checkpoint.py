"""The files that trainers write: one safetensors file, shards of one, or a folder with either."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...networks.components.files import files_of
from ...networks.weights.safetensors_file import read_safetensors
from ...networks.weights.shards import shard_number

_WHAT_FILE = (
    "Give a .safetensors file, a shard or the index of one in shards, or the folder that holds it. A checkpoint of "
    "torch.save is exported first: see docs/exo2egosyn-format.md, Converting."
)
# What wraps a network in training or in a pipeline, in any order: torch.compile, DDP and FSDP, peft, DiffSynth,
# diffusers and ComfyUI.
_WRAPPERS = (
    "_orig_mod.",
    "module.",
    "base_model.model.",
    "pipe.dit.",
    "dit.",
    "transformer.",
    "model.diffusion_model.",
    "diffusion_model.",
    "model.",
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a trainer wrote.

    Attributes:
        path: the first of its files.
        tensors: by the file's own names, mapped from the files: read when they are used.
        strings: what the header of the first file says.
    """

    path: Path
    tensors: dict[str, Tensor]
    strings: dict[str, str]

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name


def read_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint; weights are not read yet.

    Raises:
        ValueError: if a file is missing, pickled or damaged, or a folder holds none or several; it names the file.
    """
    files = files_of(_in_folder(path) if path.is_dir() else path)
    tensors: dict[str, Tensor] = {}
    strings: dict[str, str] = {}
    for file in files:
        found, said = read_safetensors(file, _WHAT_FILE)
        if twice := sorted(set(found) & set(tensors)):
            raise ValueError(f"{file.name} repeats {twice[0]} of another shard. Export all shards again.")
        tensors.update(found)
        strings = strings or said
    if not tensors:
        raise ValueError(f"{files[0].name} contains no tensors. {_WHAT_FILE}")
    if strings.get("format") == "exo2egosyn":
        raise ValueError(f"{files[0].name} is a component of Exo2EgoSyn already: the loader reads it as it is.")
    return Checkpoint(files[0], tensors, strings)


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return each name without what wraps the network, by the file's own name.

    Raises:
        ValueError: if two names become one.
    """
    plain = {name: _unwrap(name) for name in names}
    owner: dict[str, str] = {}
    for name, short in plain.items():
        if short in owner:
            raise ValueError(f"{owner[short]} and {name} are both {short}: export one network to a file.")
        owner[short] = name
    return plain


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, for messages."""
    names = list(names)
    return f"{', '.join(names[:most])}{', ...' if len(names) > most else ''}"


def _unwrap(name: str) -> str:
    while wrapper := next((wrapper for wrapper in _WRAPPERS if name.startswith(wrapper)), None):
        name = name.removeprefix(wrapper)
    return name


def _in_folder(folder: Path) -> Path:
    """Return the one checkpoint of a folder."""
    indexes = sorted(folder.glob("*.safetensors.index.json"))
    single = sorted(file for file in folder.glob("*.safetensors") if shard_number(file.name) is None)
    first = sorted(file for file in folder.glob("*.safetensors") if shard_number(file.name) == 1)
    found = indexes or [*single, *first]
    if len(found) != 1:
        names = f": {some(file.name for file in found)}" if found else ""
        raise ValueError(f"{folder} holds {len(found)} checkpoints in safetensors{names}. {_WHAT_FILE}")
    return found[0]
