"""Names of model files for the lists of loaders, and the input that chooses one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ...common.paths import NOT_THERE
from ...common.safe_text import is_fit_to_list
from .checks import one_of
from .progress import logger

_said: set[str] = set()


def model_names(kind: str) -> list[str]:
    """Return the files of one of ComfyUI's kinds of models, such as `loras`, as its own loaders list them.

    ComfyUI's list raises where one folder of many may not be entered, which would take the whole pack out of the
    editor: then what can be read is listed, and the log says so once. Names that an editor cannot show are left out.
    """
    try:
        names = folder_paths.get_filename_list(kind)
    except NOT_THERE as error:
        if kind not in _said:
            logger.warning("Not all of models/%s can be read (%s); the rest is offered. Check its rights.", kind, error)
            _said.add(kind)
        names = sorted(set(_readable(kind)))
    return [name for name in names if is_fit_to_list(name)]


class ListedInput(io.Combo.Input):
    """An input that chooses among files which come and go while ComfyUI runs: they are listed anew for every check.

    Args:
        name: the input's name.
        lister: lists the options.
        tooltip: what the artist reads.
    """

    def __init__(self, name: str, lister: Callable[[], list[str]], tooltip: str) -> None:
        super().__init__(name, options=lister(), tooltip=tooltip)
        self._lister = lister

    def checked(self, value: Any) -> str:
        """Return the value if it is on the list now.

        Raises:
            ValueError: if it is not; the message tells the options.
        """
        return one_of(self, self._lister(), value)


def _readable(kind: str) -> Iterator[str]:
    """List the files of a kind as ComfyUI does; what may not be read is left out, and links in a circle are."""
    folders, suffixes = folder_paths.folder_names_and_paths[kind]
    for folder in folders:
        seen = set()
        for place, below, files in os.walk(folder, followlinks=True):
            if (real := os.path.realpath(place)) in seen:
                below.clear()
                continue
            seen.add(real)
            names = (os.path.relpath(os.path.join(place, file), folder) for file in files)
            yield from (name for name in names if not suffixes or Path(name).suffix.lower() in suffixes)
