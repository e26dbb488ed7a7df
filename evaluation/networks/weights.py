"""Where weights of networks lie: a folder that the user names, or the caches of torch and Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...common.paths import is_file, is_folder


class WeightsMissingError(ValueError):
    """Weights or a library of a measure are not there; the message says what to put where."""


@dataclass(frozen=True)
class Weights:
    """Where to look.

    Attributes:
        folder: with files and with folders named as the repositories are; `None` looks into the caches alone.
        device: that networks run on.
    """

    folder: Path | None
    device: torch.device

    def file(self, name: str, measure: str, source: str) -> Path:
        """Return a file, from the folder or from torch's cache.

        Raises:
            WeightsMissingError: if it lies in neither.
        """
        places = [Path(torch.hub.get_dir()) / "checkpoints", *([self.folder] if self.folder else [])]
        for place in reversed(places):
            if is_file(place / name):
                return place / name
        raise WeightsMissingError(
            f"{measure} needs {name} ({source}), which is not in {_places(places)}. Copy it there, or give its folder "
            "with --weights."
        )

    def pretrained(self, load: Callable[..., Any], repository: str, measure: str) -> Any:
        """Load what `transformers` saved, from FOLDER/NAME or from Hugging Face's cache.

        Args:
            load: a class's `from_pretrained`.
            repository: `OWNER/NAME`.
            measure: for messages.

        Raises:
            WeightsMissingError: if it lies in neither, or is not whole.
        """
        local = None if self.folder is None else self.folder / repository.partition("/")[2]
        where = str(local) if local is not None and is_folder(local) else repository
        try:
            return load(where, local_files_only=True)
        except (OSError, ValueError) as error:
            wanted = f"--weights FOLDER with a folder {repository.partition('/')[2]} in it"
            raise WeightsMissingError(
                f"{measure} needs {repository}, which cannot be read from {where if local else 'Hugging Face cache'} "
                f"({str(error).splitlines()[0][:200]}). Download it (`hf download {repository}`), or give {wanted}."
            ) from error


def library(name: str, measure: str) -> Any:
    """Import a library of a measure.

    Raises:
        WeightsMissingError: if it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise WeightsMissingError(
            f"{measure} needs {error.name}, which is not installed: pip install 'comfyui-exo2ego[evaluate]'"
        ) from error


def _places(places: list[Path]) -> str:
    return " or ".join(map(str, places))
