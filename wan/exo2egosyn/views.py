"""The exo videos of Exo2EgoSyn as latents: one clip from one to four sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...common.wan_grid import LATENT_CHANNELS, latent_frames
from ..shared.vae import check_frames, check_sides, encode_video

# The paper's number of exo cameras.
MAX_VIEWS = 4


@dataclass(frozen=True, eq=False)
class ExoViews:
    """Latents of the exo videos.

    Attributes:
        latents: [V, 16, t, h, w] as the VAE gives them, not normalised.
        n_frames: video frames of the clip, 4n+1.
        names: of the views in their order, such as "exo 1": what tells which camera is whose.

    Raises:
        ValueError: if latents, frames and names do not belong together.
    """

    latents: Tensor
    n_frames: int
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = list(self.latents.shape)
        expected = [len(self.names), LATENT_CHANNELS, latent_frames(self.n_frames)]
        if len(shape) != 5 or shape[:3] != expected or 0 in shape:
            raise ValueError(
                f"Expected latents [{', '.join(map(str, expected))}, h, w] for {len(self.names)} views of "
                f"{self.n_frames} frames, got {shape}."
            )

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.latents)

    @property
    def n_tokens(self) -> int:
        """Number of tokens that Wan's cross-attention sees: one for 2 x 2 latent cells."""
        n_views, _, frames, height, width = self.latents.shape
        return n_views * frames * (height // 2) * (width // 2)

    def describe(self) -> str:
        """Return sizes in a line."""
        height, width = (8 * side for side in self.latents.shape[3:])
        views = "1 view" if self.n_views == 1 else f"{self.n_views} views"
        return f"{views} of {self.n_frames} frames, {width} x {height}: {self.n_tokens} tokens"


def encode_views(
    vae: Any, videos: Mapping[str, Tensor], progress: Callable[[int, int], None] | None = None
) -> ExoViews:
    """Encode exo videos, each by itself (the paper's section 3.4.1).

    Args:
        vae: Wan 2.1's VAE.
        videos: by name, [F, H, W, 3] in [0, 1]; F = 4n + 1 and the sides multiples of 16, alike for all.
        progress: called with (done, total) before each video and at the end.

    Raises:
        ValueError: if there is none or more than four, if they differ in length or size, or do not fit Wan: before
            anything is encoded.
    """
    check_videos(videos)
    report = progress or (lambda done, total: None)
    latents = []
    for index, frames in enumerate(videos.values()):
        report(index, len(videos))
        latents.append(encode_video(vae, frames, "Exo2EgoSyn"))
    report(len(videos), len(videos))
    return ExoViews(torch.cat(latents), len(next(iter(videos.values()))), tuple(videos))


def check_videos(videos: Mapping[str, Tensor]) -> None:
    """Check that exo videos fit each other and Wan.

    Raises:
        ValueError: as `encode_views`, naming what was expected, what came and what to do.
    """
    if not 1 <= len(videos) <= MAX_VIEWS:
        raise ValueError(
            f"Exo2EgoSyn takes 1 to {MAX_VIEWS} exo videos, got {len(videos)}. Connect the {MAX_VIEWS} that see the "
            "person best, in the order of their cameras."
        )
    for name, frames in videos.items():
        if frames.ndim != 4 or frames.shape[-1] < 3 or 0 in frames.shape:
            raise ValueError(f"{name} is expected as a video [F, H, W, 3], got the shape {list(frames.shape)}.")
    lengths = {name: len(frames) for name, frames in videos.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"The exo videos show one moment from several sides, so their lengths must agree; got {told} frames. Cut "
            "all to the same frames (Image From Batch)."
        )
    sizes = {name: f"{frames.shape[2]} x {frames.shape[1]}" for name, frames in videos.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"All exo videos must have one size, got {told}. Resize them alike (256 x 256 in the paper).")
    check_frames(len(next(iter(videos.values()))))
    height, width = next(iter(videos.values())).shape[1:3]
    check_sides("exo", width, height)
