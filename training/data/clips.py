"""What EgoX and Exo2EgoSyn are trained on: encoded clips, one or a batch of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...attention.directions import TokenDirections
from ...attention.layout import TokenLayout
from ...common.wan_grid import LATENT_CHANNELS, PATCH, PLUCKER_CHANNELS, VAE_STRIDE, video_frames
from ...wan.egox.prompt import TEXT_TOKENS


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """A clip of EgoX as the transformer meets it; latents are in the model's scale.

    Attributes:
        exo: latent of the exo view [16, T, h, w_exo].
        ego: latent of the true ego view [16, T, h, w_ego].
        prior: latent of the ego prior [16, T, h, w_ego].
        text: vectors of the prompt [512, text width].
        features: CLIP's features of the picture that the run shows it [257, image width].
        ego_queries: GGA's directions of the ego tokens [T, rows, ego columns, 3].
        exo_keys: GGA's directions of the exo tokens [query frame T, key frame T, rows, exo columns, 3].
        weights: how much each cell of the ego latent counts in the loss [T, h, w_ego]; None if all count alike.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    kind: ClassVar[str] = "egox"

    exo: Tensor
    ego: Tensor
    prior: Tensor
    text: Tensor
    features: Tensor
    ego_queries: Tensor
    exo_keys: Tensor
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("exo", "ego", "prior"):
            shape = tuple(getattr(self, name).shape)
            if len(shape) != 4 or shape[0] != LATENT_CHANNELS or shape[2] % PATCH or shape[3] % PATCH:
                raise ValueError(
                    f"The {name} latent of a clip is [{LATENT_CHANNELS}, frames, even height, even width], got "
                    f"{list(shape)}."
                )
        if self.ego.shape != self.prior.shape or self.exo.shape[:3] != self.ego.shape[:3]:
            raise ValueError(
                "The views of a clip stand side by side: ego view and prior have one size, and the exo view their "
                f"frames and height. Got exo {list(self.exo.shape)}, ego {list(self.ego.shape)}, prior "
                f"{list(self.prior.shape)}."
            )
        if self.text.ndim != 2 or len(self.text) != TEXT_TOKENS or self.features.ndim != 2:
            raise ValueError(
                f"A clip has text [{TEXT_TOKENS}, width] and CLIP features [tokens, width], got "
                f"{list(self.text.shape)} and {list(self.features.shape)}."
            )
        if self.weights is not None and self.weights.shape != self.ego.shape[1:]:
            raise ValueError(
                f"The weights of a clip are {list(self.ego.shape[1:])}, one for each cell of its ego latent, got "
                f"{list(self.weights.shape)}."
            )
        self.directions.check(self.layout)

    @property
    def layout(self) -> TokenLayout:
        """Order of the clip's tokens."""
        _, frames, height, exo_width = self.exo.shape
        return TokenLayout(frames, height // PATCH, exo_width // PATCH, self.ego.shape[-1] // PATCH)

    @property
    def directions(self) -> TokenDirections:
        """GGA's directions."""
        return TokenDirections(self.ego_queries, self.exo_keys)

    def tensors(self) -> dict[str, Tensor]:
        """Return the parts that are there by name."""
        return _parts(self)

    def is_finite(self) -> bool:
        """Whether all numbers are finite; directions may be missing, which is not, and do not count."""
        weights = () if self.weights is None else (self.weights,)
        return _all_finite((self.exo, self.ego, self.prior, self.text, self.features, *weights))


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Clips of one size: every part of `TrainingClip` with a batch before it, directions apart.

    Attributes:
        exo, ego, prior: latents [B, 16, T, h, w].
        text: [B, 512, text width].
        features: [B, 257, image width].
        directions: of every clip.
        layout: order of the tokens.
        weights: of the ego latents' cells [B, T, h, w], 1 for clips without; None if no clip has any.
    """

    exo: Tensor
    ego: Tensor
    prior: Tensor
    text: Tensor
    features: Tensor
    directions: tuple[TokenDirections, ...]
    layout: TokenLayout
    weights: Tensor | None = None

    @classmethod
    def of(cls, clips: Sequence[TrainingClip], device: torch.device | str = "cpu") -> ClipBatch:
        """Join clips of one size on a device.

        Raises:
            ValueError: if their sizes differ.
        """
        layout = _one_layout(clips)
        device = torch.device(device)
        parts = [
            torch.stack([getattr(clip, name) for clip in clips]).float().to(device)
            for name in ("exo", "ego", "prior", "text", "features")
        ]
        weights = None
        if any(clip.weights is not None for clip in clips):
            ones = torch.ones_like(clips[0].ego[0])
            weights = torch.stack([ones if clip.weights is None else clip.weights.to(ones) for clip in clips])
            weights = weights.float().to(device)
        return cls(*parts, tuple(clip.directions.to(device) for clip in clips), layout, weights)

    def __len__(self) -> int:
        return len(self.exo)


@dataclass(frozen=True)
class ViewsLayout:
    """Sizes of a clip of Exo2EgoSyn, in latent frames and cells; clips of one batch agree in them.

    Attributes:
        views: exo views.
        frames: of every latent.
        exo_height, exo_width: of the exo latents.
        ego_height, ego_width: of the ego latent.
    """

    views: int
    frames: int
    exo_height: int
    exo_width: int
    ego_height: int
    ego_width: int

    def describe(self) -> str:
        """Return sizes and numbers of tokens in a line."""
        per_token = PATCH**2
        exo = self.views * self.frames * self.exo_height * self.exo_width // per_token
        ego = self.frames * self.ego_height * self.ego_width // per_token
        return f"{self.views} views, {self.frames} latent frames: {exo} exo and {ego} ego tokens"


@dataclass(frozen=True, eq=False)
class ViewsClip:
    """A clip of Exo2EgoSyn as its networks meet it; latents are in the model's scale.

    Attributes:
        exo: latents of the exo views [V, 16, T, h, w], each video encoded by itself, exo camera 1 first.
        ego: latent of the true ego view [16, T, h_ego, w_ego]; its first frame is the true first ego frame's latent.
        gray: latent of a clip of the ego view's size that is gray throughout [16, T, h_ego, w_ego].
        first_then_gray: latent of a clip that begins with the true first ego frame and is gray after it, of the same
            shape.
        plucker: maps of the ego camera's rays relative to exo camera 1, of every frame and pixel
            [4 T - 3, 6, 8 h_ego, 8 w_ego].
        align_plucker: maps of the first ego frame's rays relative to every exo camera, on the exo latents' grid
            [V, 6, h, w].
        poses: ego camera to exo camera 1 of every frame [4 T - 3, 4, 4].
        text: vectors of the empty prompt without the padding [1 to 512, text width], for VAWAN alone; None where the
            cache was made without a text encoder.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    kind: ClassVar[str] = "exo2egosyn"

    exo: Tensor
    ego: Tensor
    gray: Tensor
    first_then_gray: Tensor
    plucker: Tensor
    align_plucker: Tensor
    poses: Tensor
    text: Tensor | None = None

    def __post_init__(self) -> None:
        for name, axes in (("exo", 5), ("ego", 4)):
            shape = tuple(getattr(self, name).shape)
            fits = len(shape) == axes and 0 not in shape and shape[-4] == LATENT_CHANNELS
            if not fits or shape[-2] % PATCH or shape[-1] % PATCH:
                raise ValueError(
                    f"The {name} latent of a clip is [{'views, ' * (axes - 4)}{LATENT_CHANNELS}, frames, even height, "
                    f"even width], got {list(shape)}."
                )
        views, _, frames, height, width = self.exo.shape
        ego_height, ego_width = self.ego.shape[2:]
        n_frames = video_frames(frames)
        expected = {
            "ego": (LATENT_CHANNELS, frames, ego_height, ego_width),
            "gray": tuple(self.ego.shape),
            "first_then_gray": tuple(self.ego.shape),
            "plucker": (n_frames, PLUCKER_CHANNELS, VAE_STRIDE * ego_height, VAE_STRIDE * ego_width),
            "align_plucker": (views, PLUCKER_CHANNELS, height, width),
            "poses": (n_frames, 4, 4),
        }
        for name, shape in expected.items():
            if (got := tuple(getattr(self, name).shape)) != shape:
                raise ValueError(
                    f"The part {name} of a clip of {views} views and {n_frames} frames is {list(shape)}, got "
                    f"{list(got)}."
                )
        if self.text is not None and (self.text.ndim != 2 or not 1 <= len(self.text) <= TEXT_TOKENS):
            raise ValueError(f"A clip's text is [1 to {TEXT_TOKENS}, width], got {list(self.text.shape)}.")

    @property
    def layout(self) -> ViewsLayout:
        """Sizes of the clip."""
        views, _, frames, height, width = self.exo.shape
        return ViewsLayout(views, frames, height, width, *self.ego.shape[2:])

    def tensors(self) -> dict[str, Tensor]:
        """Return the parts that are there by name."""
        return _parts(self)

    def is_finite(self) -> bool:
        """Whether all numbers are finite."""
        return _all_finite(self.tensors().values())


@dataclass(frozen=True, eq=False)
class ViewsBatch:
    """Clips of one size: every part of `ViewsClip` with a batch before it, in float32.

    Attributes:
        exo, ego, gray, first_then_gray, plucker, align_plucker, poses: as of `ViewsClip`, [B, ...].
        text: [B, 512, text width], padded with zeros as Wan's texts are; None if a clip has none.
        layout: sizes of the clips.
    """

    exo: Tensor
    ego: Tensor
    gray: Tensor
    first_then_gray: Tensor
    plucker: Tensor
    align_plucker: Tensor
    poses: Tensor
    text: Tensor | None
    layout: ViewsLayout

    @classmethod
    def of(cls, clips: Sequence[ViewsClip], device: torch.device | str = "cpu") -> ViewsBatch:
        """Join clips of one size on a device.

        Raises:
            ValueError: if their sizes differ.
        """
        layout = _one_layout(clips)
        names = [item.name for item in fields(ViewsClip) if item.name != "text"]
        parts = [torch.stack([getattr(clip, name) for clip in clips]).float().to(device) for name in names]
        text = None
        if all(clip.text is not None for clip in clips):
            padded = [pad(clip.text.float(), (0, 0, 0, TEXT_TOKENS - len(clip.text))) for clip in clips]
            text = torch.stack(padded).to(device)
        return cls(*parts, text, layout)

    def __len__(self) -> int:
        return len(self.exo)


AnyClip = TrainingClip | ViewsClip
AnyLayout = TokenLayout | ViewsLayout

# By what a shard of the cache calls them: the clip, and the sizes that its header tells.
CLIP_KINDS: dict[str, tuple[type[AnyClip], type[AnyLayout]]] = {
    TrainingClip.kind: (TrainingClip, TokenLayout),
    ViewsClip.kind: (ViewsClip, ViewsLayout),
}


def _one_layout(clips: Sequence[Any]) -> Any:
    layouts = {clip.layout for clip in clips}
    if len(layouts) != 1:
        raise ValueError(f"A batch is of clips of one size, got {len(layouts)} sizes: {sorted(map(str, layouts))}.")
    return layouts.pop()


def _parts(clip: AnyClip) -> dict[str, Tensor]:
    return {item.name: part for item in fields(clip) if (part := getattr(clip, item.name)) is not None}


def _all_finite(parts: Iterable[Tensor]) -> bool:
    return all(bool(part.isfinite().all()) for part in parts)
