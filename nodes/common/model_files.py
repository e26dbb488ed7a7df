"""Names of model files for the lists of loaders."""

from __future__ import annotations

import folder_paths

from ...common.paths import NOT_THERE
from ...common.safe_text import is_fit_to_list
from .progress import logger

_said: set[str] = set()


def model_names(folder: str) -> list[str]:
    """Return the files of one of ComfyUI's kinds of models, such as `loras`, as its own loaders list them.

    A folder that cannot be read lists nothing, and the log says so once: a list that raises would take the whole pack
    out of the editor. Names that an editor cannot show are left out.
    """
    try:
        names = folder_paths.get_filename_list(folder)
    except NOT_THERE as error:
        if folder not in _said:
            logger.warning(
                "models/%s cannot be listed (%s), so nothing in it is offered. Give ComfyUI the right to read it and "
                "press R.",
                folder,
                error,
            )
            _said.add(folder)
        return []
    return [name for name in names if is_fit_to_list(name)]
