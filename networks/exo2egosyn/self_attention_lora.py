"""The LoRA on Wan's self-attention that both stages train (the paper's sections 3.4.1 and 3.4.2).

Rank 128 and alpha 128 (a scale of 1) on q, k, v and o of every block. Stage 2 continues the adapters of stage 1, so a
file of stage 2 takes the place of the one of stage 1. Files may have the names of any trainer that `lora_keys` knows;
here they are brought to those that ComfyUI's own LoRA loaders map:

    diffusion_model.blocks.{i}.self_attn.{q,k,v,o}.lora_A.weight [rank, dim]
    diffusion_model.blocks.{i}.self_attn.{q,k,v,o}.lora_B.weight [dim, rank]
    diffusion_model.blocks.{i}.self_attn.{q,k,v,o}.alpha []
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...common.wan_grid import WAN_BLOCKS, WAN_DIM
from ..weights.lora_keys import split_key
from ..weights.lora_layers import read_factor

_PREFIX = "diffusion_model."
_SUFFIXES = {"down": ".lora_A.weight", "up": ".lora_B.weight", "alpha": ".alpha"}


@dataclass(frozen=True)
class LoraConfig:
    """Sizes of the LoRA: 209,715,200 numbers in the factors by default.

    Attributes:
        dim: width of Wan's tokens.
        blocks: Wan's blocks.
        rank: inner width of an update.
        alpha: an update is scaled by alpha / rank.
    """

    dim: int = WAN_DIM
    blocks: int = WAN_BLOCKS
    rank: int = 128
    alpha: float = 128.0

    def __post_init__(self) -> None:
        if min(self.dim, self.blocks, self.rank) < 1:
            raise ValueError(f"Every size of the LoRA must be at least 1, got {self}.")


def lora_shapes(config: LoraConfig) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the LoRA's tensors."""
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(config.blocks):
        for name in ("q", "k", "v", "o"):
            layer = f"{_PREFIX}blocks.{block}.self_attn.{name}"
            shapes[f"{layer}.lora_A.weight"] = (config.rank, config.dim)
            shapes[f"{layer}.lora_B.weight"] = (config.dim, config.rank)
            shapes[f"{layer}.alpha"] = ()
    return shapes


def with_known_names(tensors: Mapping[str, Tensor], alpha: float | None) -> dict[str, Tensor]:
    """Return a file's tensors with the LoRA's under the names of `lora_shapes`; all others keep theirs.

    Args:
        tensors: of a LoRA in the names of diffusers, peft, DiffSynth, kohya (musubi) or ComfyUI, and anything else.
        alpha: what the file's header says, for a file without one beside the factors. None: the rank, a scale of 1.

    Raises:
        ValueError: if two tensors are the same factor of a layer, or keys of a LoRA name no layer of Wan's blocks.
    """
    named: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in tensors.items():
        name, value = key, tensor
        if (split := split_key(key)) is None:
            unknown += [key] if "lora" in key else []
        else:
            layer, factor = split
            name = f"{_PREFIX}{layer}{_SUFFIXES[factor]}"
            value = tensor if factor == "alpha" else read_factor(tensor)
        if name in named:
            raise ValueError(f"{key} is a second {name}: export one LoRA to a file.")
        named[name] = value
    if unknown:
        raise ValueError(
            f"{len(unknown)} keys of its LoRA name no layer of Wan's blocks ({', '.join(unknown[:3])}"
            f"{', ...' if len(unknown) > 3 else ''}). Loading the rest would give a half-applied LoRA: export it again."
        )
    if any(name.endswith(_SUFFIXES["alpha"]) for name in named):
        return named
    for name, down in list(named.items()):
        if name.endswith(_SUFFIXES["down"]) and down.ndim:
            value = down.shape[0] if alpha is None else alpha
            named[name.removesuffix(_SUFFIXES["down"]) + _SUFFIXES["alpha"]] = torch.tensor(float(value))
    return named
