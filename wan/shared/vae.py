"""Wan's VAE as both systems use it: sizes that fit, and latents of the right kind."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...common.wan_grid import LATENT_CHANNELS, SPATIAL_STRIDE, VAE_STRIDE, fits_wan, fitting_frames, nearest_side


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


def check_frames(n_frames: int) -> None:
    """Check that a clip has a length that Wan samples.

    Raises:
        ValueError: if it has not 4n+1 frames.
    """
    if not fits_wan(n_frames):
        raise ValueError(
            f"Wan samples 4n+1 frames, got {n_frames}. Cut every video and the ego camera to "
            f"{fitting_frames(n_frames)} frames (Image From Batch, or the number of frames of the take)."
        )


def check_sides(name: str, width: int, height: int) -> None:
    """Check that a picture's sides are those of whole tokens.

    Raises:
        ValueError: if one is no multiple of 16.
    """
    if width % SPATIAL_STRIDE or height % SPATIAL_STRIDE:
        raise ValueError(
            f"Width and height must be multiples of {SPATIAL_STRIDE} pixels, got {name} images of {width} x {height}. "
            f"Resize them to {nearest_side(width)} x {nearest_side(height)}."
        )
