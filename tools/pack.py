"""Make this checkout importable as `exo2ego`, as ComfyUI does under a name of its own.

The checkout's root must not be on `sys.path`: its `nodes` package would stand before ComfyUI's `nodes` module.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "exo2ego"


def register() -> None:
    """Load the checkout's `__init__.py` as the package `exo2ego`, once."""
    if NAME in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
