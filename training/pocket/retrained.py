"""The pocket transformer trained anew without a part of the method: what a part brings to a training.

Leaving a part out of a model that was trained with it tells how much that model leans on it. Here each variant learns
from the same clips in the same order, with the same noise and the same number of steps, the whole method too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..network.egox import EgoX
from ..network.sampling import SampleSettings
from ..recipe import NO_GGA as OFF
from ..recipe import Recipe
from .plan import PocketPlan
from .report import AS_SHIPPED, distances, held_out_rooms, write_scores
from .score import FULL, NO_GGA, PocketParts, score_rooms
from .shown import Shown, ShownMethod, black_prior
from .stages import trained_vae
from .train_transformer import train_transformer, trained_transformer

_FOLDER = "retrained"
GGA_AT_INFERENCE = "GGA only at inference"


@dataclass(frozen=True)
class Variant:
    """A training without a part of the method.

    Attributes:
        guided: whether GGA acts.
        shown: how much of the clips is shown.
    """

    guided: bool = True
    shown: Shown = Shown.WHOLE

    def recipe(self, plan: PocketPlan, folder: str) -> Recipe:
        """Return its recipe: the plan's but for what is left out, its folder and its number of steps."""
        whole = plan.recipe()
        run = replace(whole.run, out=plan.folder / _FOLDER / folder, steps=plan.retrained_steps)
        return replace(whole, run=run, egox=whole.egox if self.guided else replace(whole.egox, gga=OFF))


VARIANTS = {
    FULL: Variant(),
    NO_GGA: Variant(guided=False),
    Shown.NO_PRIOR.value: Variant(shown=Shown.NO_PRIOR),
    Shown.NOISY_EXO.value: Variant(shown=Shown.NOISY_EXO),
}


def train_variants(plan: PocketPlan, show: Callable[[str], None] = print) -> None:
    """Train all variants to their last steps, or until the plan's time is over."""
    vae, scale = trained_vae(plan)
    for name, variant in VARIANTS.items():
        method = ShownMethod(variant.recipe(plan, _folder(name)), variant.shown, partial(black_prior, vae, scale))
        ended = train_transformer(replace(plan, start=None), show, method)  # what a start knows, it shows
        show(f"{name}: {ended}")


def score_variants(plan: PocketPlan, settings: SampleSettings = AS_SHIPPED, shards: Sequence[Path] = ()) -> list[str]:
    """Score the variants as trained so far on rooms held out; arguments and result as of `report.score`.

    Raises:
        ValueError: if one has not been trained.
    """
    vae, scale = trained_vae(plan)
    guidance, rows = plan.recipe().egox.guidance(), {}
    for name, variant in VARIANTS.items():
        network = partial(trained_transformer, variant.recipe(plan, _folder(name)))
        rows[name] = (EgoX(network()[0], guidance if variant.guided else None), variant.shown)
        if not variant.guided:
            rows[GGA_AT_INFERENCE] = (EgoX(network()[0], guidance), variant.shown)
    parts = PocketParts(vae, scale, rows, plan.recipe().egox.resolved_geometry, settings, plan.device)
    scored = score_rooms(parts, shards or held_out_rooms(plan), measures=distances())
    return write_scores(scored, plan, f"{_FOLDER}.md", f"{_FOLDER}_room")


def _folder(name: str) -> str:
    return name.replace(" ", "_").lower()
