"""How the pocket model is made: what of everything, and both recipes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from ...attention.bias import GGAForm
from ...geometry.directions.directions import GGAGeometry
from ...networks.pocket_files import pocket_file
from ...takes.random_rooms.take import TakeSize
from ..bfloat16 import is_fast_in_bfloat16
from ..data.rooms import PER_SHARD, shard_name
from ..memory.optimizers import MUON
from ..network.transformer import WanSize
from ..noise import LevelSettings
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
from .encode_rooms import IGNORED_WIDTH
from .train_vae import VaeRecipe

ROOMS, VAE, CLIPS, TRANSFORMER, FILES = "rooms", "vae.pt", "clips", "transformer", "files"

# Of a VAE that was trained before: small steps towards the smallest error of the colors.
_REFINED = {"rate": 1.2e-3, "matrix_rate": 0.007, "chroma": 1.5, "absolute": 0.01, "noise": 0.0}

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
            **({} if self.start is None else {"start": pocket_file("vae", self.start)} | _REFINED),
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
