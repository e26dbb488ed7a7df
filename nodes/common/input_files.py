"""Files the artist names: always inside ComfyUI's input folder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
from comfy_api.latest import io

from ...common.messages import few
from ...common.paths import is_there, stamp
from ...common.safe_text import for_page
from ...takes.library import NamedInputs
from ...takes.listing import unreadable_inside
from .checks import MAX_NAME, naming, text


def input_folder() -> Path:
    """Return ComfyUI's input folder."""
    return Path(folder_paths.get_input_directory())


class NamedInput(io.Combo.Input):
    """An input that chooses among what lies in the input folder. `/object_info` tells that, and of which kind it is.

    Args:
        name: the input's name.
        inputs: the kind.
        tooltip: what the artist reads.
        upload: the kind of files that the editor offers to upload, if any.
        optional: whether graphs may leave it out.
    """

    def __init__(
        self,
        name: str,
        inputs: NamedInputs[Any, Any],
        tooltip: str,
        upload: io.UploadType | None = None,
        optional: bool = False,
    ) -> None:
        options = inputs.names(input_folder())
        if unreadable := unreadable_inside(input_folder()):
            tooltip += f" Not offered, as ComfyUI may not read it: {for_page(few(unreadable))}."
        super().__init__(
            name, options=options, default=inputs.built_in, tooltip=tooltip, upload=upload, optional=optional
        )
        self._inputs = inputs

    def as_dict(self) -> dict[str, Any]:
        """Return the input's options as ComfyUI passes them on."""
        return super().as_dict() | self._inputs.mark.as_options()

    def checked(self, name: Any) -> str:
        """Return the name if it means the built-in entry or something in the input folder.

        The list of options is made when the editor loads; files that came later are taken too.

        Raises:
            ValueError: if it does not; the message says what is wrong.
        """
        text(self, name, MAX_NAME)
        with naming(self):
            self._inputs.check(input_folder(), name)
        return name

    def fingerprint(self, name: str) -> tuple[str, ...]:
        """Return what changes when a file behind a name changes; nothing for the built-in entry."""
        return stamps(self._inputs.files(input_folder(), name))


def stamps(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return what changes when one of the files changes; files that are not there have none.

    ComfyUI asks for it before any node runs, and would swallow an interruption: after one this only ends early.
    """
    wanted = takewhile(lambda _: not comfy.model_management.processing_interrupted(), paths)
    return tuple(stamp(path) for path in wanted if is_there(path))
