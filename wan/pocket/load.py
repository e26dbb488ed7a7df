"""Load the pocket model as ComfyUI's own loaders would, and let the MODEL say how it was trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.ldm.wan.vae
import comfy.sd
import comfy.utils
import torch

from ...common.wan_grid import TEXT_WIDTH
from ...networks.pocket_files import POCKET, TRANSFORMER_FILE, pocket_file, without_clip
from ...networks.weights.egox_lora import EgoXLoraHeader
from ...networks.weights.safetensors_file import read_safetensors
from ..egox.conditioning import NO_IMAGE_FEATURES
from ..egox.prompt import TEXT_TOKENS
from ..egox.trained import add_trained

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_WHAT = "It comes with the pack: pull its folder pocket/ again."


class Pocket(NamedTuple):
    """The pocket model.

    Attributes:
        model: a Wan 2.1 I2V with EgoX's layout trained in; no LoRA goes on it. For Exo2EgoSyn a Wan 2.2 I2V.
        vae: its own VAE, of Wan 2.1's shape. Latents of Wan's VAE mean nothing to it.
        conditioning: zeros in the place of a text, which the model ignores.
        header: how it was trained; None for Exo2EgoSyn, whose components tell.
    """

    model: ModelPatcher
    vae: Any
    conditioning: list[list[Any]]
    header: EgoXLoraHeader | None


def load_pocket(
    folder: Path = POCKET, report: Callable[[str], None] | None = None, *, for_exo2egosyn: bool = False
) -> Pocket:
    """Load the pocket model.

    Args:
        folder: a models folder with its two files.
        report: called with the differences when sampling starts otherwise than it was trained; None for the log.
        for_exo2egosyn: load it for Exo2EgoSyn's components, in the place of Wan 2.2.

    Raises:
        ValueError: if a file is missing or damaged.
    """
    transformer, decoder = (pocket_file(kind, folder) for kind in ("diffusion_models", "vae"))
    weights, strings = read_safetensors(transformer, _WHAT)
    read_safetensors(decoder, _WHAT)
    if for_exo2egosyn:
        model, header = comfy.sd.load_diffusion_model_state_dict(without_clip(weights)), None
    else:
        model, header = comfy.sd.load_diffusion_model(str(transformer)), EgoXLoraHeader.told_by(strings)
        add_trained(model, TRANSFORMER_FILE, header, report)
    vae = _load_vae(decoder)
    vae.throw_exception_if_invalid()
    return Pocket(model, vae, [[torch.zeros(1, TEXT_TOKENS, TEXT_WIDTH), {NO_IMAGE_FEATURES: True}]], header)


def _load_vae(path: Path) -> Any:
    """Load the pocket VAE; up to 0.3.75 ComfyUI builds Wan's VAE in its real width alone, whatever the file holds."""
    weights = comfy.utils.load_torch_file(str(path))
    network = comfy.ldm.wan.vae.WanVAE
    comfy.ldm.wan.vae.WanVAE = partial(_as_wide, network, len(weights[_AS_LONG_AS_WIDE]))
    try:
        return comfy.sd.VAE(sd=weights)
    finally:
        comfy.ldm.wan.vae.WanVAE = network


_AS_LONG_AS_WIDE = "decoder.head.0.gamma"


def _as_wide(network: Callable[..., Any], width: int, **config: Any) -> Any:
    return network(**{**config, "dim": width})
