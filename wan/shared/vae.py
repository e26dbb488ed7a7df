"""Wan's VAE as both systems use it: sizes that fit, and latents of the right kind."""

from __future__ import annotations

from typing import Any

from torch import Tensor

LATENT_CHANNELS = 16
SPATIAL_STRIDE = 16  # pixels a token: the VAE's 8 times the transformer's 2x2 patch
TEMPORAL_STRIDE = 4  # frames a latent frame, after the first
VAE_STRIDE = 8  # pixels a latent cell


def encode_video(vae: Any, frames: Tensor, system: str) -> Tensor:
    """Return the latent [1, 16, T, H / 8, W / 8] of a video [F, H, W, 3 or more] in [0, 1], as the VAE gives it.

    Args:
        vae: a VAE from ComfyUI's loader.
        frames: the video.
        system: whose requirement the error names.

    Raises:
        ValueError: if the VAE is another than Wan 2.1's.
    """
    latent = vae.encode(frames[..., :3])
    if latent.ndim != 5 or latent.shape[1] != LATENT_CHANNELS or latent.shape[-1] * VAE_STRIDE != frames.shape[2]:
        raise ValueError(
            f"{system} needs Wan 2.1's VAE (16 channels, 8x smaller, 4n+1 frames to n+1), but this VAE gave a latent "
            f"of {list(latent.shape)}. Load wan_2.1_vae.safetensors."
        )
    return latent


def latent_frames(n_frames: int) -> int:
    """Return the number of latent frames of 4n+1 frames."""
    return (n_frames - 1) // TEMPORAL_STRIDE + 1


def check_frames(n_frames: int) -> None:
    """Check that a clip has a length that Wan samples.

    Raises:
        ValueError: if it has not 4n+1 frames.
    """
    if n_frames < 1 or n_frames % TEMPORAL_STRIDE != 1:
        fitting = max(1, (n_frames - 1) // TEMPORAL_STRIDE * TEMPORAL_STRIDE + 1)
        raise ValueError(
            f"Wan samples 4n+1 frames, got {n_frames}. Cut every video and the ego camera to {fitting} frames (Image "
            "From Batch, or the number of frames of the take)."
        )


def check_sides(name: str, width: int, height: int) -> None:
    """Check that a picture's sides are those of whole tokens.

    Raises:
        ValueError: if one is no multiple of 16.
    """
    if width % SPATIAL_STRIDE or height % SPATIAL_STRIDE:
        nearest = [max(1, round(size / SPATIAL_STRIDE)) * SPATIAL_STRIDE for size in (width, height)]
        raise ValueError(
            f"Sides must be multiples of {SPATIAL_STRIDE} pixels, got {name} pictures of {width} x {height}. Resize "
            f"them to {nearest[0]} x {nearest[1]}."
        )
