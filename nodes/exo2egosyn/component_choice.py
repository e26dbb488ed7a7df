"""Files of trained components: `models/exo2egosyn`, and `models/loras` for LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ...networks.components.files import files_of
from ...networks.weights.shards import shard_number
from ..common.checks import MAX_NAME, naming, text
from ..common.input_files import stamps
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


class ComponentFile(io.Combo.Input):
    """An input that chooses a component's file, or none.

    Args:
        name: the input's name.
        folders: below `models`, where the files lie.
        tooltip: what the artist reads.
    """

    def __init__(self, name: str, folders: Sequence[str], tooltip: str) -> None:
        super().__init__(name, options=component_choices(folders), default=NONE, tooltip=tooltip)
        self._folders = folders

    def checked(self, name: Any) -> str:
        """Return the name if there is such a file, also one that the list does not have yet.

        Raises:
            ValueError: if there is none.
        """
        if is_chosen(text(self, name, MAX_NAME)):
            with naming(self):
                component_path(name, self._folders)
        return name

    def fingerprint(self, name: str) -> tuple[str, ...]:
        """Return what changes when one of the files behind a choice changes; nothing where none is chosen."""
        return stamps(files_of(component_path(name, self._folders))) if is_chosen(name) else ()


def is_chosen(name: str | None) -> bool:
    """Whether a choice names a file; `None` comes through a link, which is known only once the node runs."""
    return name not in (None, NONE)


def _base(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]
