"""Wan 2.1's VAE alone, from a pipeline's folder or from a file of ComfyUI's, to look at latents."""

from __future__ import annotations

from pathlib import Path

import torch

from ...common.wan_grid import LATENT_CHANNELS
from ...networks.weights.safetensors_file import read_safetensors
from .encoders import Encoders

_WHAT_FILE = "The VAE of samples is Wan 2.1's, wan_2.1_vae.safetensors, or a pipeline's folder with vae below it."
_WIDEST = 4  # times as wide as its last layer is the widest of a decoder, which comes first


def load_decoder(path: Path, device: torch.device) -> Encoders:
    """Load a VAE in float32, without the other encoders.

    Args:
        path: a folder in diffusers' layout with `vae` below it, or a safetensors file under ComfyUI's names.
        device: where it runs.

    Raises:
        ValueError: for a folder without a VAE, and a file that is missing, damaged or of another VAE.
    """
    from diffusers import AutoencoderKLWan

    if path.is_dir():
        if not (path / "vae").is_dir():
            raise ValueError(f"{path} has no vae. {_WHAT_FILE}")
        vae = AutoencoderKLWan.from_pretrained(path / "vae", torch_dtype=torch.float32)
    else:
        vae = _from_comfyui(path)
    parts = dict.fromkeys(("text_encoder", "tokenizer", "image_encoder", "image_processor"))
    return Encoders(vae=vae.eval().requires_grad_(requires_grad=False), **parts, device=device)


def _from_comfyui(path: Path) -> torch.nn.Module:
    from diffusers import AutoencoderKLWan
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    tensors = {name: tensor.float() for name, tensor in read_safetensors(path, _WHAT_FILE)[0].items()}
    try:
        channels = tensors["conv2.weight"].shape[0]
        widths = tensors["encoder.conv1.weight"].shape[0], tensors["decoder.conv1.weight"].shape[0] // _WIDEST
    except KeyError as error:
        raise ValueError(f"{path.name} is not a VAE of Wan: it has no {error.args[0]}. {_WHAT_FILE}") from error
    if channels != LATENT_CHANNELS:
        raise ValueError(f"{path.name} has latents of {channels} channels, and Wan 2.1's has 16. {_WHAT_FILE}")
    vae = AutoencoderKLWan(base_dim=widths[0], decoder_base_dim=widths[1])
    try:
        vae.load_state_dict(convert_wan_vae_to_diffusers(tensors))
    except RuntimeError as error:
        found = " ".join(str(error).split())[:200]
        raise ValueError(f"{path.name} is not a whole VAE of Wan 2.1 ({found}). {_WHAT_FILE}") from error
    return vae
