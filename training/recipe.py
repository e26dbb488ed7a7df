"""A training as its TOML file says it: every setting, with its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..attention.bias import GGABias, GGAForm
from ..attention.choice import CHOICES
from ..common.wan_grid import SPATIAL_STRIDE, fits_wan
from ..geometry.directions.directions import GGAGeometry
from ..networks.weights.egox_lora import NO_GGA
from ..wan.egox.match import Match, matched
from .checks import one_of
from .data.clips import TrainingClip, ViewsClip
from .exo2egosyn.settings import PREDICTED, AlignSettings, SynSettings, VawanSettings
from .memory.optimizers import ADAMW, MUON, OPTIMIZERS
from .memory.settings import MemorySettings
from .network.guided_processor import Guidance
from .network.lora import LoraSettings
from .network.sampling import SampleSettings
from .network.transformer import WanSize
from .noise import LevelSettings
from .screening.settings import ScreenSettings

EGOX = "egox"
STAGE_0, STAGE_1, STAGE_2, VAWAN = SYN = (
    "exo2egosyn stage 0",
    "exo2egosyn stage 1",
    "exo2egosyn stage 2",
    "exo2egosyn vawan",
)
METHODS = (EGOX, *SYN)
LORA, ALL = "lora", "all"
AS_MATCHED = "as matched"
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("bf16", "fp32")
_SYN_TARGETS = tuple(f"self_attn.{layer}" for layer in "qkvo")


@dataclass(frozen=True)
class RunSettings:
    """What is run.

    Attributes:
        method: egox, or a stage of Exo2EgoSyn: 0 trains EgoExo-Align, 1 MultiExoCon, 2 PoseInj; vawan is the baseline.
        out: folder of the run: checkpoints, samples, TensorBoard's files.
        steps: of the optimizer, in all.
        batch: clips of a step, over all processes and accumulated batches.
        accumulate: batches of which a process makes its share of a step, one after the other.
        seed: everything random follows from it.
        precision: bf16 (the base model's weights too, where a LoRA is trained) or fp32.
        gradient_checkpointing: whether blocks are run again in the backward pass, for less memory.
    """

    method: str = EGOX
    out: Path = Path("run")
    steps: int = 20_000
    batch: int = 4
    accumulate: int = 1
    seed: int = 0
    precision: str = "bf16"
    gradient_checkpointing: bool = True

    def __post_init__(self) -> None:
        one_of("method", self.method, METHODS)
        one_of("precision", self.precision, PRECISIONS)
        if min(self.steps, self.batch, self.accumulate) < 1 or self.seed < 0:
            raise ValueError("steps, batch and accumulate are from 1 up, seed from 0 up.")
        if self.batch % self.accumulate:
            raise ValueError(f"batch is a multiple of accumulate, got {self.batch} and {self.accumulate}.")


@dataclass(frozen=True)
class ModelSettings:
    """What is trained.

    Attributes:
        base: Wan 2.1 I2V as a safetensors file, for Exo2EgoSyn Wan 2.2 I2V A14B's low-noise expert; empty to begin
            with an untrained transformer of the sizes of [new].
        trained: lora, or all weights. Exo2EgoSyn's stages train what the paper says beside their LoRA.
    """

    base: Path | None = None
    trained: str = LORA

    def __post_init__(self) -> None:
        one_of("trained", self.trained, (LORA, ALL))


@dataclass(frozen=True)
class DataSettings:
    """What it is trained on.

    Attributes:
        takes: takes in EgoX's layout, as FOLDER or DATASET#NAME, and takes of Ego-Exo4D's folder, as ROOT#TAKE, with *
            in the name for several. Only `training screen` and `training cache` read them.
        rooms: first number and count of procedural rooms, which need no files.
        screened: list of `training screen`; takes that it rejects are left out.
        cache: folder of the encoded clips.
        held_out: names of clips or takes that are not trained on, for the held-out loss and samples.
        split: share of the takes that is held out beside those, chosen by their names: all clips of a recording fall on
            one side, and a take stays on its side whatever others come.
        clips: of a long take, at most; they do not overlap.
        frames: of a clip, 4n+1.
        exo_size, ego_size: of the videos, width and height.
    """

    takes: tuple[str, ...] = ()
    rooms: tuple[int, int] | None = None
    screened: Path | None = None
    cache: Path = Path("cache")
    held_out: tuple[str, ...] = ()
    split: float = 0.0
    clips: int = 1
    frames: int = 49
    exo_size: tuple[int, int] = (784, 448)
    ego_size: tuple[int, int] = (448, 448)

    def __post_init__(self) -> None:
        if not fits_wan(self.frames):
            raise ValueError(f"frames are 4n+1, got {self.frames}.")
        if any(side < 1 or side % SPATIAL_STRIDE for side in (*self.exo_size, *self.ego_size)):
            raise ValueError(f"sizes are multiples of {SPATIAL_STRIDE}, got {self.exo_size} and {self.ego_size}.")
        if not 0 <= self.split < 1 or self.clips < 1:
            raise ValueError(f"split is from 0 up to below 1, clips from 1 up, got {self.split:g} and {self.clips}.")
        if self.rooms is not None and (self.rooms[0] < 0 or self.rooms[1] < 1):
            raise ValueError(f"rooms are [first number, count], from [0, 1] up, got {list(self.rooms)}.")
        if self.exo_size[1] != self.ego_size[1]:
            raise ValueError(f"exo and ego view have one height, got {self.exo_size[1]} and {self.ego_size[1]}.")


@dataclass(frozen=True)
class EgoXSettings:
    """How EgoX is shown its clips; what is used here has to be used at inference.

    Attributes:
        match: whose settings the rest follows, as on EgoX Conditioning; "released training" for those who continue the
            released LoRA.
        gga: off, or the form of GGA.
        strength: GGA's lambda; none given: as matched.
        geometry: of GGA's directions, or "as matched".
        backend: who computes GGA.
    """

    match: str = Match.INFERENCE.value
    gga: str = GGAForm.RELEASE.value
    strength: float | None = None
    geometry: str = AS_MATCHED
    backend: str = "auto"

    def __post_init__(self) -> None:
        one_of("match", self.match, tuple(match.value for match in Match))
        one_of("gga", self.gga, (NO_GGA, *(form.value for form in GGAForm)))
        one_of("geometry", self.geometry, (AS_MATCHED, *(kind.value for kind in GGAGeometry)))
        one_of("backend", self.backend, CHOICES)
        self.guidance()

    def guidance(self) -> Guidance | None:
        """Return how GGA acts, None where it is off."""
        if self.gga == NO_GGA:
            return None
        return Guidance(GGABias(GGAForm(self.gga), self.resolved_strength), self.backend)

    @property
    def resolved_strength(self) -> float:
        """GGA's lambda, the choice resolved."""
        return matched(Match(self.match)).strength if self.strength is None else self.strength

    @property
    def resolved_geometry(self) -> GGAGeometry:
        """How directions are made, the choice resolved."""
        return matched(Match(self.match)).geometry if self.geometry == AS_MATCHED else GGAGeometry(self.geometry)

    @property
    def masks_last_frame(self) -> bool:
        """Whether the mask marks the clip's last exo frame."""
        return matched(Match(self.match)).last_frame_mask

    @property
    def black_picture(self) -> bool:
        """Whether CLIP sees black."""
        return matched(Match(self.match)).black_picture


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW, by default with the paper's numbers.

    Attributes:
        method: adamw; "adamw 8-bit", whose moments take a quarter, by bitsandbytes; or muon for the matrices of the
            blocks where all weights are trained, with AdamW for the rest.
        lr: learning rate.
        lr_end: the rate after the last step of a cosine.
        schedule: constant, or cosine to `lr_end`; after the warm-up.
        warmup: steps in which the rate rises.
        betas, eps, weight_decay: AdamW's.
        clip: largest norm of the gradients.
        ema: decay of a moving average of what is trained, which is then held out, sampled and exported; 0 for none.
    """

    method: str = ADAMW
    lr: float = 2e-5
    lr_end: float = 0.0
    schedule: str = "constant"
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        one_of("method", self.method, OPTIMIZERS)
        one_of("schedule", self.schedule, SCHEDULES)
        if self.lr <= 0 or self.eps <= 0 or self.clip <= 0 or min(self.lr_end, self.warmup, self.weight_decay) < 0:
            raise ValueError("lr, eps and clip are above 0, lr_end, warmup and weight_decay from 0 up.")
        if not all(0 <= value < 1 for value in (*self.betas, self.ema)):
            raise ValueError(f"betas and ema are from 0 up to below 1, got {self.betas} and {self.ema}.")


@dataclass(frozen=True)
class CheckpointSettings:
    """What is kept of a run, in steps.

    Attributes:
        every: a checkpoint.
        keep: checkpoints that stay, the newest.
        log_every: a line, and TensorBoard's curves.
        held_out_every: the loss of the clips held out; 0 for never.
        sample_every: samples; 0 for never.
    """

    every: int = 500
    keep: int = 3
    log_every: int = 10
    held_out_every: int = 500
    sample_every: int = 0

    def __post_init__(self) -> None:
        if min(self.every, self.keep, self.log_every) < 1 or min(self.held_out_every, self.sample_every) < 0:
            raise ValueError("every, keep and log_every are from 1 up, held_out_every and sample_every from 0 up.")


@dataclass(frozen=True)
class ReleaseSettings:
    """What the header of the exported file says.

    Attributes:
        base_model: name of the base model; none given: its file's name.
        license: of the weights.
        trained_by: who trained them.
    """

    base_model: str = ""
    license: str = ""
    trained_by: str = ""


@dataclass(frozen=True)
class EncoderSettings:
    """What `training cache` encodes with: folders in diffusers' layout.

    Attributes:
        folder: of a pipeline such as Wan2.1-I2V-14B-480P-Diffusers: vae, text_encoder, tokenizer, image_encoder and
            image_processor below it.
        negative: the negative text, for samples with CFG.
    """

    folder: Path | None = None
    negative: str = ""


@dataclass(frozen=True)
class Recipe:
    """A training; each attribute is a table of the TOML file.

    Raises:
        ValueError: if settings of different tables do not go together.
    """

    run: RunSettings = field(default_factory=RunSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    new: WanSize = field(default_factory=WanSize)
    lora: LoraSettings = field(default_factory=LoraSettings)
    data: DataSettings = field(default_factory=DataSettings)
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    encoders: EncoderSettings = field(default_factory=EncoderSettings)
    egox: EgoXSettings = field(default_factory=EgoXSettings)
    exo2egosyn: SynSettings = field(default_factory=SynSettings)
    align: AlignSettings = field(default_factory=AlignSettings)
    vawan: VawanSettings = field(default_factory=VawanSettings)
    noise: LevelSettings = field(default_factory=LevelSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    checkpoints: CheckpointSettings = field(default_factory=CheckpointSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    release: ReleaseSettings = field(default_factory=ReleaseSettings)

    def __post_init__(self) -> None:
        method, base = self.run.method, self.model.base
        if method == EGOX and base is None and self.model.trained == LORA:
            raise ValueError(
                '[model]: a LoRA is trained on a base model: name its file as base, or set trained = "all".'
            )
        if method in SYN and self.model.trained != LORA:
            raise ValueError(f"[model]: trained is lora for {method}, which trains what the paper says beside it.")
        if method in SYN[1:]:
            self._check_stage()
        is_base_frozen = self.model.trained == LORA and method != STAGE_0
        self.memory.check(is_base_frozen=is_base_frozen, checkpoints_gradients=self.run.gradient_checkpointing)
        if self.memory.shard and (self.checkpoints.sample_every or self.optimizer.method != ADAMW):
            raise ValueError(
                "[memory]: with shard no single process has the weights to sample with, nor whole matrices: set "
                '[checkpoints] sample_every = 0 and [optimizer] method = "adamw". `training sample` samples later.'
            )
        if is_base_frozen and self.optimizer.method == MUON:
            raise ValueError(
                '[optimizer]: muon is for whole matrices: with a LoRA set method = "adamw" or "adamw 8-bit".'
            )

    def _check_stage(self) -> None:
        """Check a training on Wan 2.2."""
        syn, method = self.exo2egosyn, self.run.method
        if self.model.base is None:
            raise ValueError(f"[model]: {method} is trained on Wan 2.2 I2V A14B, low noise: name its file as base.")
        if set(self.lora.targets) != set(_SYN_TARGETS) or self.lora.patch_embedding:
            raise ValueError(
                f"[lora]: Exo2EgoSyn's LoRA is on self-attention alone: set targets = {list(_SYN_TARGETS)} and leave "
                "patch_embedding out."
            )
        if syn.first_frame == PREDICTED and syn.align is None:
            raise ValueError(
                "[exo2egosyn]: first frames are predicted by EgoExo-Align: name its file, of stage 0, as align, or set "
                'first_frame = "true".'
            )
        if method == STAGE_2 and (syn.multiexocon is None or self.lora.start is None):
            raise ValueError(
                "[exo2egosyn]: stage 2 goes on from stage 1: name MultiExoCon's file as multiexocon, and its LoRA as "
                "start under [lora]."
            )
        if not syn.exo_dropout and self.samples.cfg != 1:
            raise ValueError("[samples]: without exo_dropout there is no null branch for CFG: set cfg = 1.")

    @property
    def clip_kind(self) -> str:
        """Which clips the cache holds: those of EgoX or of Exo2EgoSyn."""
        return TrainingClip.kind if self.run.method == EGOX else ViewsClip.kind
