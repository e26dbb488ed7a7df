"""The pocket transformer as a file that stock loaders take for Wan 2.1 I2V."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...networks.weights.safetensors_file import read_safetensors
from ...networks.weights.wan_names import from_diffusers
from ..network.constant_text import ignore_text
from ..network.transformer import WanSize, empty_transformer, new_transformer

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

_IGNORED = ("text_embedding.", "img_emb.")
_STOCK = WanSize()
# Zeros that may take a byte a number in the file, as long as they are less than this share of its numbers: ComfyUI
# takes as a file's type the one that most of them have.
_SMALL = re.compile(r"img_emb\..*weight|blocks\.\d+\.cross_attn\.(q|k|v|o|k_img|v_img)\.weight")
_MOST_SMALL = 0.45


def stock_transformer(network: WanTransformer3DModel) -> dict[str, Tensor]:
    """Return the weights of a transformer that ignores text and CLIP, under ComfyUI's names.

    What it ignores is there as zeros, as wide as Wan 2.1's, so that the stock text encoder and CLIP fit.

    Args:
        network: with the cross-attention of `ignore_text`.

    Raises:
        ValueError: if its cross-attention looks at the text.
    """
    weights = {from_diffusers(name): tensor for name, tensor in network.state_dict().items()}
    size = WanSize.of_tensors(weights, "the network", "It is one of diffusers'.")
    stock = empty_transformer(replace(size, text=_STOCK.text, image=_STOCK.image)).state_dict()
    out = {}
    for name, like in ((from_diffusers(name), tensor) for name, tensor in stock.items()):
        is_norm = "norm" in name or name in ("img_emb.proj.0.weight", "img_emb.proj.4.weight")
        if name.endswith("cross_attn.o.weight") and weights[name].any():
            raise ValueError(f"{name} is not zero: this transformer listens to its text.")
        if name.startswith(_IGNORED) or (".cross_attn." in name and ".cross_attn.o." not in name):
            out[name] = (torch.ones if is_norm and name.endswith("weight") else torch.zeros)(like.shape)
        else:
            out[name] = weights[name].detach().float().cpu()
    return out


@torch.no_grad()
def read_stock_transformer(path: Path, size: WanSize) -> WanTransformer3DModel:
    """Read a file of `stock_transformer` back; what it ignores is as wide as `size` says.

    Raises:
        ValueError: if the file cannot be read, or holds a transformer of another size.
    """
    weights = read_safetensors(path, "It is made by `make pocket`.")[0]
    network = new_transformer(size, seed=0)
    ignore_text(network)
    for name, parameter in network.named_parameters():
        stored = weights[from_diffusers(name)]
        if not from_diffusers(name).startswith(_IGNORED):
            parameter.copy_(stored)
    return network


def stored_types(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Return the type in which the file has each weight of `stock_transformer`: `dtype`, and float8 for some zeros."""
    types = dict.fromkeys(weights, dtype)
    left = _MOST_SMALL * sum(value.numel() for value in weights.values())
    for name, value in weights.items():
        if _SMALL.fullmatch(name) and value.ndim == 2 and value.numel() < left and not value.any():
            types[name] = torch.float8_e4m3fn
            left -= value.numel()
    return types
