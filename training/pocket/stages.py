"""From nothing to the pocket model's files, in stages that can each be left and resumed.

rooms        random rooms, rendered                       rooms/
vae          the VAE, trained on their frames             vae.pt
clips        the rooms, encoded by the VAE                clips/
transformer  EgoX from nothing, by the project's trainer  transformer/
export       both as files of stock loaders               files/
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...attention.bias import GGAForm
from ...common.whole_file import whole_file
from ...geometry.directions.directions import GGAGeometry
from ...networks.pocket_files import pocket_file
from ...networks.weights.safetensors_file import write_safetensors
from ...takes.random_rooms.take import TakeSize
from ..data.cache import ClipCache
from ..data.clips import AnyLayout, ClipBatch
from ..data.order import ClipOrder, NarrowedOrder
from ..data.rooms import PER_SHARD, shard_name, shards_in, write_rooms
from ..memory.optimizers import MUON
from ..network.constant_text import ignore_text
from ..network.egox import EgoX
from ..network.egox_method import EgoXMethod
from ..network.transformer import WanSize, new_transformer
from ..noise import LevelSettings, draw
from ..recipe import (
    ALL,
    CheckpointSettings,
    DataSettings,
    EgoXSettings,
    ModelSettings,
    OptimizerSettings,
    Recipe,
    ReleaseSettings,
    RunSettings,
)
from ..state import checkpoint_files, newest_checkpoint
from ..trainer import CHECKPOINTS, Trainer
from ..bfloat16 import is_fast_in_bfloat16
from .encode_rooms import IGNORED_WIDTH, LatentScale, encode_shard, measure_scale
from .export import read_stock_transformer, stock_transformer, stored_types
from .shown import ShownMethod
from .start import fit_head, start_quiet
from .timed import train_until
from .train_vae import VaeRecipe, VaeTraining
from .vae_file import read_pocket_vae, wan_state_dict

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

ROOMS, VAE, CLIPS, TRANSFORMER, FILES = "rooms", "vae.pt", "clips", "transformer", "files"
FIRST_STILL = 5_000  # number of the first shard of rooms of one frame
FIRST_LONG, LONG_FRAMES = 10_000, 49  # number of the first shard of long rooms, and EgoX's frames
_log = logging.getLogger(__name__)

_STILLS_SHARE = 0.7  # of the steps: after them clips of one frame are left out
_FITTED_AT_ONCE = 8  # clips, for the fit of the last layer
_MOST_HELD_OUT = 8  # clips whose loss is followed, of the first shard


@dataclass(frozen=True)
class PocketPlan:
    """How the pocket model is made.

    Attributes:
        folder: where everything lies.
        n_shards: of rooms.
        n_held_out: of these, the first ones, which nothing is trained on.
        n_still: shards beside them of rooms of one frame, a sixth of the work: more rooms teach more than more frames.
        n_long: shards beside them of rooms that last as long as EgoX's clips, so that times far apart are seen, too.
        per_shard: rooms in each.
        size: of the takes; their ego images are as high as the exo images.
        vae_steps, steps: of the VAE's and the transformer's training.
        retrained_steps: of each training without a part of the method, see `retrained`.
        encoder_steps: of the VAE's, after which its encoder stays.
        vae_batch: images a step of the VAE.
        start: a models folder with a pocket model at which both trainings begin; None for trainings from nothing.
        batch: clips a step of the transformer.
        width, ffn, blocks: sizes of the transformer.
        device: where both are trained.
        until: `time.time()` at which a training is left, with a checkpoint.
    """

    folder: Path
    n_shards: int = 130
    n_held_out: int = 2
    n_still: int = 160
    n_long: int = 3
    per_shard: int = PER_SHARD
    size: TakeSize = field(default_factory=TakeSize)
    vae_steps: int = 20_000
    encoder_steps: int = 8_000
    steps: int = 40_000
    retrained_steps: int = 2_000
    vae_batch: int = VaeRecipe.images
    start: Path | None = None
    batch: int = 8
    width: int = 256
    ffn: int = 768
    blocks: int = 7
    device: str = "cpu"
    until: float = math.inf

    def vae_recipe(self) -> VaeRecipe:
        """Return the VAE's recipe."""
        return VaeRecipe(
            steps=self.vae_steps,
            encoder_steps=self.encoder_steps,
            images=self.vae_batch,
            clips=max(1, self.vae_batch // 4),
            held_out=self.n_held_out,
            start=None if self.start is None else pocket_file("vae", self.start),
        )

    def is_held_out(self, clip: str) -> bool:
        """Whether a clip is of a room that nothing is trained on, by its name."""
        return clip.split("-")[0] in {shard_name(number) for number in range(self.n_held_out)}

    def recipe(self) -> Recipe:
        """Return the transformer's recipe: levels near 1, since few steps are sampled."""
        is_fast = is_fast_in_bfloat16(self.device)
        return Recipe(
            run=RunSettings(
                out=self.folder / TRANSFORMER,
                steps=self.steps,
                batch=self.batch,
                precision="bf16" if is_fast else "fp32",
                gradient_checkpointing=False,
            ),
            model=ModelSettings(trained=ALL),
            new=WanSize(self.width, self.ffn, self.blocks, IGNORED_WIDTH, IGNORED_WIDTH),
            data=DataSettings(
                cache=self.folder / CLIPS,
                held_out=tuple(f"{shard_name(0)}-{room:02d}" for room in range(min(_MOST_HELD_OUT, self.per_shard))),
                frames=self.size.n_frames,
                exo_size=(self.size.exo_width, self.size.exo_height),
                ego_size=(self.size.ego_size, self.size.ego_size),
            ),
            egox=EgoXSettings(gga=GGAForm.PAPER.value, geometry=GGAGeometry.PHYSICAL.value, strength=1.0),
            noise=LevelSettings(shift=30.0),
            optimizer=OptimizerSettings(
                method=MUON,
                lr=3e-3 if self.start is None else 1.5e-3,
                schedule="cosine",
                ema=0.999,
                weight_decay=0.01,
            ),
            release=ReleaseSettings(license="Apache-2.0", trained_by="make pocket"),
            checkpoints=CheckpointSettings(every=500, keep=2, log_every=50, held_out_every=500),
        )


def make_rooms(plan: PocketPlan, part: tuple[int, int] = (1, 1)) -> None:
    """Render the rooms that are not there yet, or the I-th of N parts of them."""
    index, parts = part
    write = partial(write_rooms, plan.folder / ROOMS, per_shard=plan.per_shard, n_workers=parts)
    write(plan.n_shards, plan.size, worker=index - 1)
    write(FIRST_STILL + plan.n_still, replace(plan.size, n_frames=1), worker=FIRST_STILL + index - 1)
    write(FIRST_LONG + plan.n_long, replace(plan.size, n_frames=LONG_FRAMES), worker=FIRST_LONG + index - 1)


def train_vae(plan: PocketPlan) -> None:
    """Train the VAE to its last step, or until the plan's time is over."""
    VaeTraining(plan.vae_recipe(), plan.folder / ROOMS, plan.folder / VAE, device=plan.device).run(plan.until)


def trained_vae(plan: PocketPlan) -> tuple[AutoencoderKLWan, LatentScale]:
    """Return the VAE as trained so far, and the scale of its latents; the pack's own where none was trained."""
    if not (plan.folder / VAE).is_file():
        _log.info("%s is not there: the pack's own VAE is taken.", plan.folder / VAE)
        return read_pocket_vae(pocket_file("vae"))
    training = VaeTraining(plan.vae_recipe(), plan.folder / ROOMS, plan.folder / VAE, device=plan.device)
    vae = training.averaged()
    return vae, measure_scale(vae, shards_in(plan.folder / ROOMS)[0])


def make_clips(plan: PocketPlan, show: Callable[[str], None] = print, part: tuple[int, int] = (1, 1)) -> None:
    """Encode the rooms that are not in the cache yet, or there by another VAE, or the I-th of N parts of them."""
    vae, scale = trained_vae(plan)
    geometry = plan.recipe().egox.resolved_geometry
    cache = ClipCache(plan.folder / CLIPS, may_be_empty=True)
    for shard in shards_in(plan.folder / ROOMS)[part[0] - 1 :: part[1]]:

        def is_due(number: int, shard: Path = shard) -> bool:
            name = f"{shard.stem}-{number:02d}"
            return name not in cache or cache.stale(name, scale.made()) is not None

        names = encode_shard(vae, scale, shard, plan.folder / CLIPS, geometry, keep=is_due)
        show(f"{shard.stem}: {len(names)} clips")


def open_training(plan: PocketPlan, method: ShownMethod | None = None) -> Trainer:
    """Return the transformer's training at its newest checkpoint, at the plan's start, or at the copy of the prior.

    Args:
        plan: the plan.
        method: with another recipe than the plan's, or one that shows the model less.
    """
    from accelerate import Accelerator

    method = method or ShownMethod(plan.recipe())
    recipe = method.recipe
    cache = ClipCache(recipe.data.cache)
    held_out = recipe.data.held_out
    trained = [name for name in cache.entries if not plan.is_held_out(name)]
    cache.only([*trained, *held_out], held_out)
    begins = not checkpoint_files(recipe.run.out / CHECKPOINTS)
    if plan.start is None:
        network = new_transformer(recipe.new, recipe.run.seed)
        ignore_text(network)
        start_quiet(network)
    else:
        network = read_stock_transformer(pocket_file("diffusion_models", plan.start), recipe.new)
    model = EgoX(network, recipe.egox.guidance(), masks_last_frame=recipe.egox.masks_last_frame).to(plan.device)
    on_cpu = torch.device(plan.device).type == "cpu"
    if not on_cpu:
        cache.hold(plan.device)
    if begins and plan.start is None:
        fit_head(model, _first_batches(method, cache, plan.device))
    mixed = "bf16" if recipe.run.precision == "bf16" else "no"
    trainer = Trainer(method, model, cache, Accelerator(mixed_precision=mixed, cpu=on_cpu))
    trainer.order = order_of(trainer, recipe.run.steps)
    return trainer


def order_of(trainer: Trainer, steps: int) -> NarrowedOrder:
    """Return in which order a training of so many steps meets its clips: at last only those of several frames."""
    recipe, cache = trainer.recipe, trainer.cache
    first, later = (
        {
            name: entry.layout
            for name, entry in cache.entries.items()
            if name not in cache.held_out and entry.layout.frames >= fewest
        }
        for fewest in (1, 2)
    )
    orders = (ClipOrder(names, recipe.run.batch, recipe.run.seed) for names in (first, later or first))
    return NarrowedOrder(*orders, after=int(_STILLS_SHARE * steps))


def train_transformer(plan: PocketPlan, show: Callable[[str], None] = print, method: ShownMethod | None = None) -> str:
    """Train the transformer to its last step, or until the plan's time is over; returns why it ended."""
    return train_until(open_training(plan, method), plan.until, show)


def trained_transformer(recipe: Recipe) -> tuple[WanTransformer3DModel, int]:
    """Return the transformer that a recipe has trained so far, its average, and the number of its steps.

    Raises:
        ValueError: if it has not been trained.
    """
    network = new_transformer(recipe.new, recipe.run.seed)
    ignore_text(network)
    checkpoint = newest_checkpoint(recipe.run.out / CHECKPOINTS)
    if checkpoint is None:
        raise ValueError(f"There is no checkpoint in {recipe.run.out / CHECKPOINTS}: run the stage transformer first.")
    best = {name.removeprefix("transformer."): value for name, value in checkpoint.best.items()}
    network.load_state_dict(best, strict=False)
    return network, checkpoint.step


def export(plan: PocketPlan, dtype: torch.dtype = torch.float16) -> list[Path]:
    """Write both files as trained so far; returns them.

    Raises:
        ValueError: if one has not been trained.
    """
    network, step = trained_transformer(plan.recipe())
    vae, scale = trained_vae(plan)
    config = vae.config
    like = {"mean": torch.tensor(config.latents_mean), "std": torch.tensor(config.latents_std)}
    files = {
        "vae": wan_state_dict({name: value.cpu() for name, value in vae.state_dict().items()}, *scale, like),
        "diffusion_models": stock_transformer(network),
    }
    # Clips of any length go well together with it.
    header = replace(EgoXMethod(plan.recipe()).header(step), num_frames="").to_strings()
    paths = []
    for kind, tensors in files.items():
        path = pocket_file(kind, plan.folder / FILES)
        path.parent.mkdir(parents=True, exist_ok=True)
        strings = (header if kind == "diffusion_models" else {}) | {"format": "pt"}
        types = stored_types(tensors, dtype) if kind == "diffusion_models" else dict.fromkeys(tensors, dtype)
        with whole_file(path) as unfinished:
            write_safetensors(unfinished, tensors, strings, types)
        paths.append(path)
    return paths


def _first_batches(
    method: ShownMethod, cache: ClipCache, device: str, n_clips: int = 256
) -> Iterator[tuple[ClipBatch, Tensor, Tensor]]:
    """Yield clips as they are shown, with noise, for the fit of the last layer."""
    recipe = method.recipe
    by_layout: dict[AnyLayout, list[str]] = {}
    names = [name for name in sorted(cache.entries) if name not in cache.held_out]
    for name in names[:: max(1, len(names) // n_clips)]:
        by_layout.setdefault(cache.entries[name].layout, []).append(name)
    for alike in by_layout.values():
        for first in range(0, len(alike), _FITTED_AT_ONCE):
            clips = ClipBatch.of([cache.read(name) for name in alike[first : first + _FITTED_AT_ONCE]], device)
            items = range(first, first + len(clips))
            draws = draw(clips.ego.shape[1:], recipe.noise, recipe.run.seed, -1, items).to(clips.ego)
            yield method.shows(clips, draws.levels, draws.chances.tolist()), draws.noise, draws.levels
