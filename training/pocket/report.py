"""The pocket model's scores as a table and sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...common.whole_file import whole_file
from ...evaluation.networks.choice import load_networks
from ...evaluation.scores import Measure
from ...networks.pocket_files import pocket_file
from ...nodes.drawings.contact_sheet import contact_sheet
from ..data.rooms import shards_in
from ..network.egox import EgoX
from ..network.sampling import SampleSettings
from ..state import checkpoint_files
from ..trainer import CHECKPOINTS
from .export import read_stock_transformer
from .plan import FILES, ROOMS, PocketPlan
from .score import FULL, NO_GGA, PocketParts, Scored, score_rooms
from .shown import Shown
from .stages import trained_vae
from .train_transformer import trained_transformer

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

# As the template samples.
AS_SHIPPED = SampleSettings(steps=8, shift=8.0, cfg=1.0)


def score(plan: PocketPlan, settings: SampleSettings = AS_SHIPPED, shards: Sequence[Path] = ()) -> list[str]:
    """Score the model as trained so far on rooms held out, beside baselines and with parts left out.

    Where none was trained it is the pack's own. LPIPS and ST-LPIPS are there where their packages and weights are.

    Args:
        plan: the plan.
        settings: of the sampler.
        shards: other rooms that it was not trained on; none given: those that the plan holds out.

    Returns:
        A table in Markdown. It lies in files/ too, with sheets of some rooms.
    """
    vae, scale = trained_vae(plan)
    egox = plan.recipe().egox
    guided, plain = (EgoX(_transformer(plan), how) for how in (egox.guidance(), None))
    rows = {
        FULL: (guided, Shown.WHOLE),
        NO_GGA: (plain, Shown.WHOLE),
        Shown.NO_PRIOR.value: (guided, Shown.NO_PRIOR),
        Shown.NOISY_EXO.value: (guided, Shown.NOISY_EXO),
    }
    parts = PocketParts(vae, scale, rows, egox.resolved_geometry, settings, plan.device)
    scored = score_rooms(parts, shards or held_out_rooms(plan), measures=distances())
    return write_scores(scored, plan, "score.md", "room")


def distances() -> tuple[Measure, ...]:
    """Return the perceptual distances whose packages and weights are there."""
    return load_networks(("lpips", "st-lpips"), None, torch.device("cpu"), required=False).measures


def held_out_rooms(plan: PocketPlan) -> list[Path]:
    """Return the shards of rooms that nothing is trained on.

    Raises:
        ValueError: if there are none.
    """
    if not (shards := shards_in(plan.folder / ROOMS)[: plan.n_held_out]):
        raise ValueError(f"There are no rooms in {plan.folder / ROOMS}: run the stage rooms first.")
    return shards


def _transformer(plan: PocketPlan) -> WanTransformer3DModel:
    recipe = plan.recipe()
    if checkpoint_files(recipe.run.out / CHECKPOINTS):
        return trained_transformer(recipe)[0]
    return read_stock_transformer(pocket_file("diffusion_models"), recipe.new)


def write_scores(scored: Scored, plan: PocketPlan, table: str, sheet: str) -> list[str]:
    """Write table and sheets into files/; returns the table."""
    from PIL import Image

    folder = plan.folder / FILES
    folder.mkdir(parents=True, exist_ok=True)
    lines = scored.lines()
    (folder / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, videos in enumerate(scored.videos):
        pixels = contact_sheet(list(videos.items()), times=5)[0].mul(255).round().to(torch.uint8).numpy()
        with whole_file(folder / f"{sheet}_{number}.png") as unfinished:
            Image.fromarray(pixels).save(unfinished)
    return lines
