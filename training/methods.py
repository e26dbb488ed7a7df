"""Which method a recipe names."""

from __future__ import annotations

from .exo2egosyn.align import Align
from .exo2egosyn.stages import SynStage
from .method import Method
from .network.egox_method import EgoXMethod
from .recipe import EGOX, STAGE_0, Recipe


def method_of(recipe: Recipe) -> Method:
    """Return the method that `[run] method` names, with its settings."""
    if recipe.run.method == EGOX:
        return EgoXMethod(recipe)
    return Align(recipe) if recipe.run.method == STAGE_0 else SynStage(recipe)
