"""The VAE as a file: Wan's own names for its tensors, and latents of the scale that Wan's have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...common.wan_grid import LATENT_CHANNELS
from ...networks.weights.safetensors_file import read_safetensors
from .encode_rooms import LatentScale
from .vae import pocket_vae

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

# diffusers' names in order, and Wan's; numbers that need sums are done in `_wan_block`.
_WAN_NAMES = (
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.down_blocks\.", ".downsamples."),
    (r"\.norm1\.", ".residual.0."),
    (r"(middle|samples)\.(\d+)\.conv1\.", r"\1.\2.residual.2."),
    (r"\.norm2\.", ".residual.3."),
    (r"\.conv2\.", ".residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
)
_BLOCKS_A_LEVEL = 4  # three residual blocks and an upsampling


def wan_name(name: str) -> str:
    """Return the name that Wan's file has for a tensor of diffusers' `AutoencoderKLWan`."""
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)\.", _wan_block, name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", _wan_block, name)
    for pattern, replacement in _WAN_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def wan_state_dict(weights: Mapping[str, Tensor], mean: Tensor, std: Tensor, like: Mapping[str, Tensor]) -> dict:
    """Return the weights under Wan's names, with its latents brought to the mean and scale of Wan 2.1's.

    ComfyUI and diffusers take Wan's mean from a latent and divide by its standard deviation; after that this VAE's
    latents have mean 0 and deviation 1.

    Args:
        weights: of diffusers' `AutoencoderKLWan`.
        mean: of this VAE's latents [16].
        std: their standard deviation [16].
        like: Wan's own: "mean" and "std" [16].
    """
    scale, shift = like["std"] / std, like["mean"] - mean * like["std"] / std
    out = {wan_name(name): tensor.clone() for name, tensor in weights.items()}
    out["conv1.weight"][:LATENT_CHANNELS] *= scale[:, None, None, None, None]
    out["conv1.bias"][:LATENT_CHANNELS] = out["conv1.bias"][:LATENT_CHANNELS] * scale + shift
    # conv2 meets scale * z + shift, and is to give what it gave for z.
    inner = out["conv2.weight"] / scale[None, :, None, None, None]
    out["conv2.bias"] = out["conv2.bias"] - torch.einsum("oi,i->o", inner[..., 0, 0, 0], shift)
    out["conv2.weight"] = inner
    return out


def read_pocket_vae(path: Path) -> tuple[AutoencoderKLWan, LatentScale]:
    """Read a file that `wan_state_dict` made; returns the VAE in float32 and the scale of its latents, Wan 2.1's.

    Raises:
        ValueError: if the file cannot be read.
    """
    weights = read_safetensors(path, "It is made by `make pocket`.")[0]
    vae = pocket_vae(weights["encoder.conv1.weight"].shape[0])
    vae.load_state_dict({name: weights[wan_name(name)].float() for name in vae.state_dict()})
    config = vae.config
    scale = LatentScale(torch.tensor(config.latents_mean), torch.tensor(config.latents_std))
    return vae.eval().requires_grad_(False), scale


@torch.no_grad()
def with_unit_latents(vae: AutoencoderKLWan, scale: LatentScale) -> AutoencoderKLWan:
    """Return a VAE of `read_pocket_vae` ready to be trained on, its latents with mean 0 and deviation 1, in place."""
    encoder, decoder = vae.quant_conv, vae.post_quant_conv
    encoder.weight[:LATENT_CHANNELS] /= scale.std.view(-1, 1, 1, 1, 1)
    encoder.bias[:LATENT_CHANNELS] = (encoder.bias[:LATENT_CHANNELS] - scale.mean) / scale.std
    decoder.bias += torch.einsum("oi,i->o", decoder.weight[..., 0, 0, 0], scale.mean)
    decoder.weight *= scale.std.view(1, -1, 1, 1, 1)
    trained = pocket_vae(vae.config.base_dim)
    trained.load_state_dict(vae.state_dict())
    return trained


def _wan_block(match: re.Match[str]) -> str:
    level = int(match.group(1))
    block = int(match.group(2)) if match.lastindex == 2 else _BLOCKS_A_LEVEL - 1
    return f"upsamples.{_BLOCKS_A_LEVEL * level + block}."
