"""A tiny Wan 2.1 VAE. ComfyUI reads its width from `decoder.head.0.gamma`."""

from __future__ import annotations

from itertools import pairwise

import torch

from .tiny_weights import Weights

WIDTH = 4
LATENT_CHANNELS = 16
MULTIPLES = (1, 2, 4, 4)
HALVES_TIME = (False, True, True)  # of the three downsamplings


def vae_state_dict(*, seed: int = 3, width: int = WIDTH) -> dict[str, torch.Tensor]:
    """Return the float32 weights of a tiny Wan 2.1 VAE (8x8 in space, 4 in time, 16 channels)."""
    weights = Weights(seed)
    _encoder(weights, width)
    weights.linear("conv1", 2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1, 1, 1)
    weights.linear("conv2", LATENT_CHANNELS, LATENT_CHANNELS, 1, 1, 1)
    _decoder(weights, width)
    return weights.tensors


def _encoder(weights: Weights, width: int) -> None:
    widths = [width * multiple for multiple in (1, *MULTIPLES)]
    weights.linear("encoder.conv1", widths[0], 3, 3, 3, 3)
    layer = 0
    for level, (into, out) in enumerate(pairwise(widths)):
        for _ in range(2):
            _residual(weights, f"encoder.downsamples.{layer}", into, out)
            into = out
            layer += 1
        if level < len(HALVES_TIME):
            name = f"encoder.downsamples.{layer}"
            weights.linear(f"{name}.resample.1", out, out, 3, 3)
            if HALVES_TIME[level]:
                weights.linear(f"{name}.time_conv", out, out, 3, 1, 1)
            layer += 1
    _middle(weights, "encoder.middle", widths[-1])
    _head(weights, "encoder.head", widths[-1], 2 * LATENT_CHANNELS)


def _decoder(weights: Weights, width: int) -> None:
    widths = [width * multiple for multiple in (MULTIPLES[-1], *MULTIPLES[::-1])]
    weights.linear("decoder.conv1", widths[0], LATENT_CHANNELS, 3, 3, 3)
    _middle(weights, "decoder.middle", widths[0])
    layer = 0
    for level, (into, out) in enumerate(pairwise(widths)):
        if level:
            into //= 2  # the upsampling before halved it
        for _ in range(3):
            _residual(weights, f"decoder.upsamples.{layer}", into, out)
            into = out
            layer += 1
        if level < len(HALVES_TIME):
            name = f"decoder.upsamples.{layer}"
            weights.linear(f"{name}.resample.1", out // 2, out, 3, 3)
            if HALVES_TIME[::-1][level]:
                weights.linear(f"{name}.time_conv", 2 * out, out, 3, 1, 1)
            layer += 1
    _head(weights, "decoder.head", widths[-1], 3)


def _residual(weights: Weights, name: str, into: int, out: int) -> None:
    weights.scale(f"{name}.residual.0.gamma", into, 1, 1, 1)
    weights.linear(f"{name}.residual.2", out, into, 3, 3, 3)
    weights.scale(f"{name}.residual.3.gamma", out, 1, 1, 1)
    weights.linear(f"{name}.residual.6", out, out, 3, 3, 3)
    if into != out:
        weights.linear(f"{name}.shortcut", out, into, 1, 1, 1)


def _middle(weights: Weights, name: str, width: int) -> None:
    _residual(weights, f"{name}.0", width, width)
    weights.scale(f"{name}.1.norm.gamma", width, 1, 1)
    weights.linear(f"{name}.1.to_qkv", 3 * width, width, 1, 1)
    weights.linear(f"{name}.1.proj", width, width, 1, 1)
    _residual(weights, f"{name}.2", width, width)


def _head(weights: Weights, name: str, width: int, channels: int) -> None:
    weights.scale(f"{name}.0.gamma", width, 1, 1, 1)
    weights.linear(f"{name}.2", channels, width, 3, 3, 3)
