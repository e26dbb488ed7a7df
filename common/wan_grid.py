"""Wan's grid: how many frames and pixels a latent cell and a token hold, and the sizes of Wan 2.1 and 2.2 I2V 14B.

Numbers alone: whoever counts frames, cells or tokens counts them here.
"""

from __future__ import annotations

# Frames that Wan's VAE joins in a latent frame after the first, which holds one: 4n+1 frames make n+1.
TEMPORAL_STRIDE = 4

# Pixels a latent cell, latent cells a token, and pixels a token, along a side.
VAE_STRIDE = 8
PATCH = 2
SPATIAL_STRIDE = VAE_STRIDE * PATCH

# Latent frames, rows and columns in a token.
WAN_PATCH = (1, PATCH, PATCH)

# Channels of a latent, of I2V's mask, and of I2V's input: noise, mask, first frame.
LATENT_CHANNELS = 16
MASK_CHANNELS = 4
I2V_CHANNELS = LATENT_CHANNELS + MASK_CHANNELS + LATENT_CHANNELS

# Width of a token, number of blocks, channels of an attention head.
WAN_DIM = 5120
WAN_BLOCKS = 40
HEAD_CHANNELS = 128

# Width of what umT5 makes of a text, and of CLIP ViT-H's image features.
TEXT_WIDTH = 4096
CLIP_WIDTH = 1280

# Moment, then direction.
PLUCKER_CHANNELS = 6


def latent_frames(n_frames: int) -> int:
    """Return the number of latent frames of 4n+1 frames."""
    return (n_frames - 1) // TEMPORAL_STRIDE + 1


def video_frames(n_latent: int) -> int:
    """Return the number of frames that latent frames stand for; inverse of `latent_frames`."""
    return TEMPORAL_STRIDE * (n_latent - 1) + 1


def fits_wan(n_frames: int) -> bool:
    """Whether Wan samples so many frames: 4n+1."""
    return n_frames >= 1 and n_frames % TEMPORAL_STRIDE == 1


def fitting_frames(n_frames: int) -> int:
    """Return the largest 4n+1 that is not above a number of frames; at least 1."""
    return max(1, video_frames(latent_frames(n_frames)))


def nearest_side(pixels: int) -> int:
    """Return the multiple of a token's side that is nearest to a side in pixels; at least one token."""
    return max(1, round(pixels / SPATIAL_STRIDE)) * SPATIAL_STRIDE


def latent_groups(n_frames: int) -> list[slice]:
    """Return the frames behind each latent frame: the first alone, then four by four."""
    starts = range(1, n_frames, TEMPORAL_STRIDE)
    return [slice(0, 1), *(slice(start, min(start + TEMPORAL_STRIDE, n_frames)) for start in starts)]


def latent_frame_of(frame: int) -> int:
    """Return the latent frame that a video frame went into; inverse of `latent_groups`."""
    return (frame + TEMPORAL_STRIDE - 1) // TEMPORAL_STRIDE
