"""Files the artist names: always inside ComfyUI's input folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ...common.messages import few
from ...common.paths import is_there, stamp
from ...common.safe_text import for_page
from ...takes.library import NamedInputs
from ...takes.listing import unreadable_inside


def input_folder() -> Path:
    """Return ComfyUI's input folder."""
    return Path(folder_paths.get_input_directory())


class NamedInput(io.Combo.Input):
    """An input that chooses among what lies in the input folder. `/object_info` tells that, and of which kind it is.

    Args:
        name: the input's name.
        inputs: the kind.
        tooltip: what the artist reads.
    """

    def __init__(self, name: str, inputs: NamedInputs[Any, Any], tooltip: str) -> None:
        options = inputs.names(input_folder())
        if unreadable := unreadable_inside(input_folder()):
            tooltip += f" Not offered, as ComfyUI may not read it: {for_page(few(unreadable))}."
        super().__init__(name, options=options, default=inputs.built_in, tooltip=tooltip)
        self._mark = inputs.mark

    def as_dict(self) -> dict[str, Any]:
        """Return the input's options as ComfyUI passes them on."""
        return super().as_dict() | self._mark.as_options()


def check_choice(name: str | None, inputs: NamedInputs[Any, Any]) -> bool | str:
    """Check what an artist or an API user chose: the built-in entry, or something in the input folder.

    Lists of files are made when the editor loads, so a node that calls this also takes files that came later.

    Args:
        name: the choice; `None` where it comes through a link, which ComfyUI knows only once the node runs.
        inputs: what may be chosen.

    Returns:
        True, or what is wrong with the name.
    """
    if name is None:
        return True
    if not isinstance(name, str):
        return f"Expected the name of a file or folder below ComfyUI's input folder, got {name!r}."
    try:
        inputs.check(input_folder(), name)
    except ValueError as error:
        return str(error)
    return True


def fingerprint(name: str | None, inputs: NamedInputs[Any, Any]) -> tuple[str, ...]:
    """Return what changes when a file behind a choice changes.

    Args:
        name: the choice; `None` where it comes through a link: the linked node's own changes count then.
        inputs: what may be chosen.
    """
    if name is None or name == inputs.built_in:
        return (str(name),)
    try:
        paths = inputs.files(input_folder(), name)
    except ValueError:
        return ("missing",)
    return tuple(stamp(path) for path in paths if is_there(path))
