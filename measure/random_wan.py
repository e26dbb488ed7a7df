"""ComfyUI's own Wan 2.1 I2V with random weights that are made on the device, and what it samples from.

`start` comes first: ComfyUI chooses its device when it is imported.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..attention.layout import TokenLayout
from ..common.wan_grid import LATENT_CHANNELS, PATCH

HEAD_DIM = 128

# Fixed by Wan 2.1 I2V: tokens and width of the text and of CLIP's image features.
_TEXT, _CLIP = (512, 4096), (257, 1280)


@cache
def start(device: torch.device, comfyui: Path) -> str:
    """Import the ComfyUI of a folder for a device and return its version."""
    sys.path.insert(0, str(comfyui))
    # The weights fit: none may be offloaded. On the CPU ComfyUI would else take an attention of its own.
    options = ["--cpu", "--use-pytorch-cross-attention"] if device.type == "cpu" else ["--highvram"]
    arguments, sys.argv = sys.argv, ["comfyui", *options]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.cli_args
    finally:
        sys.argv = arguments
    import comfyui_version

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("exo2ego").setLevel(logging.INFO)  # GGA names the back end that it chooses
    return comfyui_version.__version__


@lru_cache(1)
@torch.no_grad()
def model(layers: int, dim: int, ffn: int, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a MODEL, the same one for the same sizes; `dim` is a multiple of 128."""
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.WAN21_I2V(
        {
            "image_model": "wan2.1",
            "model_type": "i2v",
            "in_dim": 36,
            "out_dim": LATENT_CHANNELS,
            "dim": dim,
            "ffn_dim": ffn,
            "num_heads": dim // HEAD_DIM,
            "num_layers": layers,
            "freq_dim": 256,
            "patch_size": (1, PATCH, PATCH),
            "window_size": (-1, -1),
            "qk_norm": True,
            "cross_attn_norm": True,
            "eps": 1e-6,
        }
    )
    config.set_inference_dtype(dtype, None)
    wan = config.get_model({}, device=torch.device("meta"))
    wan.diffusion_model.to_empty(device=device)
    wan.device = device
    random = torch.Generator(device).manual_seed(0)
    for name, weight in wan.diffusion_model.named_parameters():
        if weight.ndim > 1:
            weight.normal_(std=weight[0].numel() ** -0.5, generator=random)
        else:
            weight.fill_(float(name.endswith("weight")))  # norms
    return comfy.model_patcher.ModelPatcher(wan, load_device=device, offload_device=device)


@dataclass(frozen=True)
class Clip:
    """Random latents and conditioning: [1, 16, T, h, w_exo] and [1, 16, T, h, w_ego]."""

    exo: Tensor
    noise: Tensor
    positive: list
    negative: list

    @classmethod
    def random(cls, layout: TokenLayout) -> Clip:
        """Return a clip of a size in tokens."""
        from comfy.clip_vision import Output

        random = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random)

        def latent(columns: int) -> Tensor:
            return normal(1, LATENT_CHANNELS, layout.frames, layout.rows * PATCH, columns * PATCH)

        features = Output()
        features["penultimate_hidden_states"] = normal(1, *_CLIP)
        prior = latent(layout.ego_columns)
        options = {
            "concat_latent_image": prior,
            "concat_mask": torch.ones_like(prior[:, :1]),
            "clip_vision_output": features,
        }
        positive, negative = ([[normal(1, *_TEXT), dict(options)]] for _ in range(2))
        return cls(latent(layout.exo_columns), latent(layout.ego_columns), positive, negative)
