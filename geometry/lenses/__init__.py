"""Lenses, one model a file. Every file of this folder is read, so that a new model is known as soon as it lies here."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from .lens import Lens, lens_from_json, lens_kinds, lens_to_json

for _file in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = ["Lens", "lens_from_json", "lens_kinds", "lens_to_json"]
