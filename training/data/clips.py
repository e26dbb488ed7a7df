"""What EgoX is trained on: encoded clips, one or a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ...attention.directions import TokenDirections
from ...attention.layout import TokenLayout
from ...common.wan_grid import LATENT_CHANNELS, PATCH
from ...wan.egox.prompt import TEXT_TOKENS


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """A clip as the transformer meets it; latents are in the model's scale.

    Attributes:
        exo: latent of the exo view [16, T, h, w_exo].
        ego: latent of the true ego view [16, T, h, w_ego].
        prior: latent of the ego prior [16, T, h, w_ego].
        text: vectors of the prompt [512, text width].
        features: CLIP's features of the picture that the run shows it [257, image width].
        ego_queries: GGA's directions of the ego tokens [T, rows, ego columns, 3].
        exo_keys: GGA's directions of the exo tokens [query frame T, key frame T, rows, exo columns, 3].

    Raises:
        ValueError: if the parts do not fit each other.
    """

    exo: Tensor
    ego: Tensor
    prior: Tensor
    text: Tensor
    features: Tensor
    ego_queries: Tensor
    exo_keys: Tensor

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
        """Return the parts by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Clips of one size: every part of `TrainingClip` with a batch before it, directions apart.

    Attributes:
        exo, ego, prior: latents [B, 16, T, h, w].
        text: [B, 512, text width].
        features: [B, 257, image width].
        directions: of every clip.
        layout: order of the tokens.
    """

    exo: Tensor
    ego: Tensor
    prior: Tensor
    text: Tensor
    features: Tensor
    directions: tuple[TokenDirections, ...]
    layout: TokenLayout

    @classmethod
    def of(cls, clips: Sequence[TrainingClip], device: torch.device | str = "cpu") -> ClipBatch:
        """Join clips of one size on a device.

        Raises:
            ValueError: if their sizes differ.
        """
        layouts = {clip.layout for clip in clips}
        if len(layouts) != 1:
            raise ValueError(f"A batch is of clips of one size, got {len(layouts)} sizes: {sorted(map(str, layouts))}.")
        device = torch.device(device)
        parts = [
            torch.stack([getattr(clip, name) for clip in clips]).float().to(device)
            for name in ("exo", "ego", "prior", "text", "features")
        ]
        return cls(*parts, tuple(clip.directions.to(device) for clip in clips), layouts.pop())

    def __len__(self) -> int:
        return len(self.exo)
