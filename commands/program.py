"""How the pack's command is called, for usage lines."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = "exo2ego"  # what pip installs


def program() -> str:
    """Return `exo2ego` where pip's script runs, else `python -m PACKAGE`."""
    called = Path(sys.argv[0])
    if called.stem == SCRIPT and not called.is_dir():  # `python FOLDER` gives the folder's name
        return SCRIPT
    return f"python -m {__name__.partition('.')[0]}"
