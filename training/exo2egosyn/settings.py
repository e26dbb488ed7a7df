"""Exo2EgoSyn's tables of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...networks.exo2egosyn.ego_exo_align import AlignConfig
from ...networks.exo2egosyn.exo_tokens import EXO_POSITIONS
from ...networks.exo2egosyn.pose_injection import FUSES
from ...networks.exo2egosyn.self_attention_lora import LoraConfig
from ...networks.exo2egosyn.vawan import NO_POSE, VawanConfig
from ..checks import one_of

PREDICTED, TRUE = "predicted", "true"
GRAY, PIXEL = "gray", "pixel"
RAYS = ("pinhole", "raymap")

_MOST_VIEWS = 4


@dataclass(frozen=True)
class SynSettings:
    """What all stages on Wan 2.2 share, and what the files' headers say.

    Attributes:
        views: exo views of a clip.
        frame_stride: source frames from one frame of a clip to the next.
        rays: what the ego camera's rays follow: a pinhole's, or those of the lens that made the images.
        category: activity that the clips show, such as bike.
        exo_dropout: share of the training samples whose exo latents are zero: the null branch of CFG. 0 for none, and
            then the files are sampled with CFG 1.
        first_frame: what the condition's first latent is: predicted by EgoExo-Align, or the true one.
        cond_tail: what follows it: the latent frames of a gray clip, or those of a clip that begins with the first
            frame and is gray after it, for the true one alone.
        align: EgoExo-Align's file, for predicted first frames.
        multiexocon: MultiExoCon's file: stage 2 is trained on it, and stage 1 goes on from it.
        exo_pos: positions of the exo tokens, stage 1.
        cross_attention_lr: learning rate of stage 1's cross-attention.
        fuse: how PoseInj joins path and tokens, stage 2.
        pose_dim: width of PoseInj's encoder.

    Raises:
        ValueError: if a value is out of range.
    """

    views: int = _MOST_VIEWS
    frame_stride: int = 4
    rays: str = RAYS[0]
    category: str = ""
    exo_dropout: float = 0.1
    first_frame: str = PREDICTED
    cond_tail: str = GRAY
    align: Path | None = None
    multiexocon: Path | None = None
    exo_pos: str = EXO_POSITIONS[0]
    cross_attention_lr: float = 2e-5
    fuse: str = FUSES[0]
    pose_dim: int = 512

    def __post_init__(self) -> None:
        one_of("rays", self.rays, RAYS)
        one_of("first_frame", self.first_frame, (PREDICTED, TRUE))
        one_of("cond_tail", self.cond_tail, (GRAY, PIXEL))
        one_of("exo_pos", self.exo_pos, EXO_POSITIONS)
        one_of("fuse", self.fuse, FUSES)
        if not 1 <= self.views <= _MOST_VIEWS or min(self.frame_stride, self.pose_dim) < 1:
            raise ValueError(f"views are 1 to {_MOST_VIEWS}, frame_stride and pose_dim from 1 up.")
        if not 0 <= self.exo_dropout < 1 or self.cross_attention_lr <= 0:
            raise ValueError("exo_dropout is from 0 up to below 1, cross_attention_lr above 0.")
        if self.first_frame == PREDICTED and self.cond_tail == PIXEL:
            raise ValueError(
                'cond_tail "pixel" encodes the first frame together with the gray ones, and a predicted latent has no '
                'image: take cond_tail = "gray", or first_frame = "true".'
            )


@dataclass(frozen=True)
class AlignSettings:
    """Stage 0: EgoExo-Align's sizes, the paper's (table 7) by default, and its loss.

    Attributes:
        dim, heads, dim_head, num_blocks, ff_mult: of the spatial-temporal transformer.
        patch_size: side of the patches of latent cells.
        plucker_weight: weight of the Pluecker maps' reconstruction in the loss.

    Raises:
        ValueError: if a value is out of range.
    """

    dim: int = 512
    heads: int = 8
    dim_head: int = 64
    num_blocks: int = 8
    ff_mult: float = 4.0
    patch_size: int = 2
    plucker_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.plucker_weight < 0:
            raise ValueError(f"plucker_weight is from 0 up, got {self.plucker_weight}.")
        self.config()

    def config(self) -> AlignConfig:
        """Return the network's sizes."""
        return AlignConfig(self.dim, self.heads, self.dim_head, self.num_blocks, self.ff_mult, self.patch_size)


@dataclass(frozen=True)
class VawanSettings:
    """The baseline VAWAN: how it reads the ego camera's poses.

    Attributes:
        pose: none, ac3d (the baseline of the paper's tables 1 and 5) or time_pose (table 6).
        pose_width: width of AC3D's light blocks, 512 or 2048 in the paper.
        pose_shared: whether one light block serves all of Wan's blocks.

    Raises:
        ValueError: if a value is out of range.
    """

    pose: str = NO_POSE
    pose_width: int = 512
    pose_shared: bool = False

    def __post_init__(self) -> None:
        self.config(1, LoraConfig())

    def config(self, views: int, lora: LoraConfig) -> VawanConfig:
        """Return the component's sizes."""
        return VawanConfig(views, lora, self.pose, self.pose_width, self.pose_shared)
