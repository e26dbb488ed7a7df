"""Exo2EgoSyn at the pocket's size: what its three stages are trained on, and how.

views       random kitchens from two sides, rendered and encoded by the pocket VAE     views/, first_frames/
exo2egosyn  EgoExo-Align, MultiExoCon and PoseInj, on the pocket transformer           exo2egosyn/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ...networks.pocket_files import POCKET, component_file, pocket_file
from ..bfloat16 import is_fast_in_bfloat16
from ..data.rooms import PER_SHARD
from ..exo2egosyn.settings import AlignSettings, SynSettings
from ..memory.optimizers import ADAMW, MUON
from ..network.lora import LoraSettings
from ..network.sampling import SampleSettings
from ..noise import LevelSettings
from ..pocket.plan import FILES, PocketPlan
from ..pocket.vae_file import read_pocket_vae
from ..recipe import (
    STAGE_0,
    STAGE_1,
    STAGE_2,
    CheckpointSettings,
    DataSettings,
    ModelSettings,
    OptimizerSettings,
    Recipe,
    ReleaseSettings,
    RunSettings,
)
from .views import PocketEncoder, room_name, write_first_frames, write_views

VIEWS, FIRST_FRAMES, RUNS = "views", "first_frames", "exo2egosyn"
STAGES = (STAGE_0, STAGE_1, STAGE_2)
FIRST_STILL = 20_000  # number of the first room of one frame

_TARGETS = tuple(f"self_attn.{layer}" for layer in "qkvo")


@dataclass(frozen=True)
class SynPlan:
    """How the pocket's Exo2EgoSyn is made.

    The components lie in the repository beside the pocket model, so all their sizes are small.

    Attributes:
        pocket: folder, device and time of the pocket model. Where that begins at another pocket model, so does
            MultiExoCon with its LoRA, and EgoExo-Align, which does not look at the transformer, is taken as it is.
        n_rooms: kitchens of whole clips; the first `n_held_out` are not trained on.
        n_stills: kitchens beside them of one frame.
        n_held_out: see `n_rooms`.
        n_frames: of a clip.
        size: side of all images, pixels.
        views: exo views, the kitchens' first cameras.
        steps: of stages 0, 1 and 2.
        batch: clips a step of each.
        align: sizes of EgoExo-Align.
        rank: of the LoRA.
        pose_dim: width of PoseInj's encoder.
    """

    pocket: PocketPlan
    n_rooms: int = 600
    n_stills: int = 4000
    n_held_out: int = PER_SHARD
    n_frames: int = 9
    size: int = 128
    views: int = 2
    steps: tuple[int, int, int] = (8000, 4000, 2000)
    batch: tuple[int, int, int] = (32, 8, 8)
    align: AlignSettings = field(default_factory=partial(AlignSettings, dim=96, heads=3, dim_head=32, num_blocks=2))
    rank: int = 8
    pose_dim: int = 32

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of the clips that are not trained on."""
        return tuple(room_name(number) for number in range(self.n_held_out))

    @property
    def files(self) -> Path:
        """The models folder whose VAE and transformer are taken: what `make pocket` exported, or what the pack has."""
        own = self.pocket.folder / FILES
        return own if pocket_file("diffusion_models", own).is_file() else POCKET

    @property
    def folder(self) -> Path:
        """Where the three runs lie, with what goes from one to the next."""
        return self.pocket.folder / RUNS

    @property
    def base(self) -> Path:
        """The pocket transformer in the shape of Wan 2.2."""
        return self.folder / "pocket_wan22.safetensors"

    def file_of(self, stage: int, part: str = "") -> Path:
        """Return the file that a stage exports, or that of one of its parts: "multiexocon", "poseinj" or "lora"."""
        return self.folder / f"stage_{stage}{part and '_'}{part}.safetensors"

    def recipe(self, method: str = STAGE_0) -> Recipe:
        """Return a stage's recipe. The exo tokens have positions, which so small a network needs."""
        stage, images, start = STAGES.index(method), (self.size, self.size), self.pocket.start
        begins_at = {
            STAGE_1: {} if start is None else {name: component_file(name, start) for name in ("multiexocon", "lora")},
            STAGE_2: {name: self.file_of(1, name) for name in ("multiexocon", "lora")},
        }.get(method, {})
        is_fast = is_fast_in_bfloat16(self.pocket.device)
        return Recipe(
            run=RunSettings(
                method=method,
                out=self.folder / f"stage_{stage}",
                steps=self.steps[stage],
                batch=self.batch[stage],
                precision="bf16" if is_fast else "fp32",
                gradient_checkpointing=False,
            ),
            model=ModelSettings(base=self.base if stage else None),
            data=DataSettings(
                cache=self.pocket.folder / (VIEWS if stage else FIRST_FRAMES),
                held_out=self.held_out,
                frames=self.n_frames,
                exo_size=images,
                ego_size=images,
            ),
            exo2egosyn=SynSettings(
                views=self.views,
                exo_dropout=0.0,
                align=self.file_of(0) if stage else None,
                multiexocon=begins_at.get("multiexocon"),
                exo_pos="learned",
                cross_attention_lr=1e-3,
                pose_dim=self.pose_dim,
            ),
            align=self.align,
            lora=LoraSettings(
                rank=self.rank,
                alpha=float(self.rank),
                targets=_TARGETS,
                start=begins_at.get("lora"),
            ),
            noise=LevelSettings(shift=30.0),  # as of the transformer below: few steps are sampled
            optimizer=OptimizerSettings(
                method=ADAMW if stage else MUON,
                lr=1e-3 if stage else 3e-3,
                schedule="cosine",
                ema=0.998,
                weight_decay=0.01,
            ),
            samples=SampleSettings(steps=4, shift=8.0, cfg=1.0),
            release=ReleaseSettings(license="Apache-2.0", trained_by="make pocket"),
            checkpoints=CheckpointSettings(every=250, keep=2, log_every=50, held_out_every=250),
        )


def encoder_of(plan: SynPlan) -> PocketEncoder:
    """Return the pocket VAE."""
    return PocketEncoder(*read_pocket_vae(pocket_file("vae", plan.files)))


def make_views(plan: SynPlan, show: Callable[[str], None] = print, part: tuple[int, int] = (1, 1)) -> None:
    """Render and encode the kitchens that are not there yet, or the I-th of N parts of them."""
    encoder, recipe = encoder_of(plan), plan.recipe()
    views, firsts = (plan.pocket.folder / name for name in (VIEWS, FIRST_FRAMES))
    for what, numbers, n_frames in (
        ("rooms", range(plan.n_rooms), plan.n_frames),
        ("stills", range(FIRST_STILL, FIRST_STILL + plan.n_stills), 1),
    ):
        mine = numbers[part[0] - 1 :: part[1]]
        made = write_views(views, mine, n_frames, encoder, recipe)
        show(f"{what}: {made} encoded, {len(mine) - made} were there")
    write_first_frames(views, firsts)
