"""Files of trained components: `models/exo2egosyn`, and `models/loras` for LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ...networks.weights.shards import shard_number
from ..common.model_files import model_names

FOLDER = "exo2egosyn"
NONE = "none"

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def component_choices(folders: Sequence[str] = (FOLDER,)) -> list[str]:
    """Return what an artist may choose: "none", and the files; of a file in shards the first."""
    names = dict.fromkeys(name for folder in folders for name in model_names(folder))
    return [NONE, *(name for name in names if name.endswith(".safetensors") and shard_number(_base(name)) in (None, 1))]


def component_path(name: str, folders: Sequence[str] = (FOLDER,)) -> Path:
    """Return the file that a choice means, in the first folder that has it.

    Raises:
        ValueError: if none has.
    """
    for folder in folders:
        if (path := folder_paths.get_full_path(folder, name)) is not None:
            return Path(path)
    where = " and ".join(f"models/{folder}" for folder in folders)
    raise ValueError(f"There is no file {name} in {where}. Put it there and press R, or choose {NONE}.")


def is_chosen(name: str | None) -> bool:
    """Whether a choice names a file; `None` comes through a link, which is known only once the node runs."""
    return name not in (None, NONE)


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]
