"""Files of trained components: safetensors, one component a file, or shards of one (docs/exo2egosyn-format.md).

A component lies in `NAME.safetensors`, or in shards `NAME-00001-of-00003.safetensors`, ... beside an index
`NAME.safetensors.index.json` as Hugging Face writes it. Every shard carries the whole header. Nothing is ever
unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...common.paths import is_file, is_there
from ..exo2egosyn.self_attention_lora import with_known_names
from ..weights.finite import check_finite
from ..weights.lora_layers import check_floating
from ..weights.safetensors_file import read_safetensors, write_safetensors
from ..weights.shards import shard_names, shard_number, siblings
from .metadata import Component, ComponentMetadata, LoraMetadata, parse_metadata
from .shapes import ComponentConfig, check_tensors

# Largest shard that `write_component` makes, in bytes: file systems and hosts take 4 GB.
MAX_SHARD_BYTES = 4 * 10**9

_INDEX_SUFFIX = ".index.json"
_WHAT_FILE = (
    "Choose a component of Exo2EgoSyn: a .safetensors file, or a shard of one with its .safetensors.index.json."
)


@dataclass(frozen=True, eq=False)
class LoadedComponent:
    """A component as it lies in its file, checked.

    Attributes:
        file: the file's name, for messages.
        metadata: of the class that belongs to the component.
        config: sizes, of the class that belongs to the component: `AlignConfig`, `ExoTokenConfig`, `PoseConfig`,
            `LoraConfig` or `VawanConfig`.
        state_dict: tensors by the names that the component's module documents, mapped from the file; a LoRA's factors
            in bfloat16 where the file has them in float32.
    """

    file: str
    metadata: ComponentMetadata
    config: ComponentConfig
    state_dict: dict[str, Tensor]

    @property
    def component(self) -> Component:
        """Which component it is."""
        return self.metadata.component


def read_component(path: str | Path, expected: Component | None = None) -> LoadedComponent:
    """Read a component.

    Args:
        path: a `.safetensors` file, any shard of one, or the index of the shards.
        expected: the component that belongs here; None takes any.

    Raises:
        ValueError: for a file or shard that is missing, torn, pickled or of another format; a header of another
            format, version, component or base model, or with values that this version does not read; and tensors that
            are missing, left over, of another shape, or hold NaN, infinity or integers. It names the file.
    """
    path = Path(path)
    tensors, header = _read_files(files_of(path))
    try:
        metadata = parse_metadata(header)
        if expected is not None and metadata.component is not expected:
            raise ValueError(
                f"it holds the component {metadata.component.value}, and {expected.value} belongs here. Choose the "
                f"file of {expected.value}."
            )
        if isinstance(metadata, LoraMetadata):
            check_floating(tensors)  # before they are read as bfloat16
            tensors = with_known_names(tensors, metadata.alpha)
        config = check_tensors(metadata, tensors)
        check_finite(tensors)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    return LoadedComponent(path.name, metadata, config, tensors)


def write_component(
    path: str | Path,
    metadata: ComponentMetadata,
    state_dict: Mapping[str, Tensor],
    max_shard_bytes: int = MAX_SHARD_BYTES,
    dtypes: Mapping[str, torch.dtype] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write a component, whole or not at all, after the same checks that reading makes.

    One tensor at a time is in memory where they are mapped from another file.

    Args:
        path: `NAME.safetensors`. Beyond `max_shard_bytes` shards and an index are written beside it instead.
        metadata: of the class that belongs to the component.
        state_dict: its tensors.
        max_shard_bytes: largest shard; a tensor that is larger makes a shard of its own.
        dtypes: types that tensors shall have in the file, by name; the others keep their own.
        progress: called with the bytes of every tensor once it is written.

    Returns:
        What to give `read_component`: `path`, or the index.

    Raises:
        ValueError: if the tensors do not fit the metadata, or the name another suffix has, or files of the other
            layout (one file, or shards) lie under that name.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or shard_number(path.name) is not None:
        raise ValueError(f"A component is written to NAME.safetensors, which is not a shard's name; got {path.name}.")
    check_tensors(metadata, state_dict)
    dtypes = dtypes or {}
    shards = _split(state_dict, max_shard_bytes, dtypes)
    index = path.with_name(path.name + _INDEX_SUFFIX)
    target, other = (path, index) if len(shards) == 1 else (index, path)
    if is_there(other):
        raise ValueError(
            f"{other.name} is there already, and {target.name} beside it would leave two versions of one component. "
            "Remove it or choose another name."
        )
    files = [path]
    if len(shards) > 1:
        files = [path.with_name(name) for name in shard_names(path.stem, len(shards))]
    header = metadata.to_header()
    partial = {file: file.with_name(file.name + ".partial") for file in (*files, index)}
    try:
        for file, shard in zip(files, shards):
            write_safetensors(partial[file], shard, header, dtypes, progress)
        if target is index:
            partial[index].write_text(json.dumps(_index(files, shards, dtypes), indent=2))
            files.append(index)
        for file in files:
            os.replace(partial[file], file)
    finally:
        for file in partial.values():
            file.unlink(missing_ok=True)
    return target


def files_of(path: Path) -> list[Path]:
    """Return the files that make up the component at `path`; whether a shard is there is not checked.

    Raises:
        ValueError: if `path` is no shard's name after all, or an index that is missing or torn.
    """
    if (names := siblings(path.name)) is not None:
        if path.name not in names:
            raise ValueError(f"{path.name} is not a shard of {len(names)}. {_WHAT_FILE}")
        return [path.with_name(name) for name in names]
    index = path.with_name(path.name + _INDEX_SUFFIX)
    if path.name.endswith(_INDEX_SUFFIX):
        return _files_of_index(path)
    return _files_of_index(index) if is_file(index) and not is_there(path) else [path]


def _files_of_index(index: Path) -> list[Path]:
    if not is_file(index):
        raise ValueError(f"There is no file {index.name} in {index.parent}. {_WHAT_FILE}")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ValueError(
            f"{index.name} is truncated, corrupt or not an index of shards ({error!r}): download it again."
        ) from error
    # An index names its neighbours; a path would lead out of the folder.
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise ValueError(f"{index.name} does not name files of its own folder: {names[:3]}. Download it again.")
    return [index.with_name(name) for name in names]


def _read_files(files: list[Path]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of all files, and the header that they share."""
    if missing := [file.name for file in files if not is_file(file)]:
        of = f" of {len(files)} shards" if len(files) > 1 else ""
        raise ValueError(f"{len(missing)}{of} missing in {files[0].parent}: {', '.join(missing[:3])}. {_WHAT_FILE}")
    tensors, header = read_safetensors(files[0], _WHAT_FILE)
    for file in files[1:]:
        more, its_header = read_safetensors(file, _WHAT_FILE)
        if its_header != header:
            differs = sorted(key for key in {*header, *its_header} if header.get(key) != its_header.get(key))
            raise ValueError(
                f"{file.name} and {files[0].name} are not shards of one file: {', '.join(differs[:3])} differ. "
                "Download or export all shards again."
            )
        if twice := sorted(set(more) & set(tensors)):
            raise ValueError(f"{file.name} repeats {twice[0]} of another shard. Download or export all shards again.")
        tensors.update(more)
    return tensors, header


def stored_bytes(key: str, tensor: Tensor, dtypes: Mapping[str, torch.dtype]) -> int:
    """Return the bytes of a tensor in a file that `write_component` writes with these types."""
    return tensor.numel() * dtypes.get(key, tensor.dtype).itemsize


def _split(
    state_dict: Mapping[str, Tensor], max_bytes: int, dtypes: Mapping[str, torch.dtype]
) -> list[dict[str, Tensor]]:
    """Return the tensors in groups of at most `max_bytes`, in their order."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in state_dict.items():
        nbytes = stored_bytes(key, tensor, dtypes)
        if shards[-1] and size + nbytes > max_bytes:
            shards.append({})
            size = 0
        shards[-1][key] = tensor
        size += nbytes
    return shards


def _index(files: list[Path], shards: list[dict[str, Tensor]], dtypes: Mapping[str, torch.dtype]) -> dict[str, object]:
    """Return the index of shards in Hugging Face's form."""
    total = sum(stored_bytes(key, tensor, dtypes) for shard in shards for key, tensor in shard.items())
    weight_map = {key: file.name for file, shard in zip(files, shards) for key in shard}
    return {"metadata": {"total_size": total}, "weight_map": weight_map}
