"""EgoX's LoRA by peft: put on a transformer, and written in the names that every loader knows.

diffusion_model.blocks.{i}.{self_attn|cross_attn}.{q,k,v,o}.lora_A.weight [rank, inputs]
diffusion_model.blocks.{i}.{self_attn|cross_attn}.{q,k,v,o}.lora_B.weight [outputs, rank]
diffusion_model.blocks.{i}.{self_attn|cross_attn}.{q,k,v,o}.alpha []
diffusion_model.patch_embedding.lora_A.weight [rank, 36, 1, 2, 2], lora_B.weight [outputs, rank, 1, 1, 1] and alpha []
where it is trained.

For diffusers the names are its own, transformer.blocks.{i}.attn1.to_q. and so on, and alpha stands in the header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...common.whole_file import whole_file
from ...networks.weights.egox_lora import EgoXLoraHeader
from ...networks.weights.lora_keys import (
    PATCH_EMBEDDING,
    block_of,
    in_diffusers,
    layers_of_a_block,
    split_key,
    within_block,
)
from ...networks.weights.lora_layers import DIFFUSERS_METADATA, factors_by_layer, saved_alpha
from ...networks.weights.safetensors_file import read_safetensors, write_safetensors

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel
    from peft import LoraConfig

# The paper's: all four layers of both attentions.
EGOX_TARGETS = tuple(f"{attention}.{layer}" for attention in ("self_attn", "cross_attn") for layer in "qkvo")

COMFYUI, DIFFUSERS = "comfyui", "diffusers"  # whose names a file has
NAMES = (COMFYUI, DIFFUSERS)

_PREFIXES = {COMFYUI: "diffusion_model.", DIFFUSERS: "transformer."}
_SUFFIXES = {"down": ".lora_A.weight", "up": ".lora_B.weight"}
_WHAT_FILE = "A LoRA to continue from is EgoX's, or one of this trainer."


@dataclass(frozen=True)
class LoraSettings:
    """Which LoRA is trained.

    Attributes:
        rank: inner width of an update.
        alpha: an update is scaled by alpha / rank.
        dropout: share of the inputs that are left out.
        targets: layers of a block, in ComfyUI's names.
        start: a LoRA to go on from, in any trainer's names, of this rank, alpha and targets.
        patch_embedding: whether the patch embedding, through which both views enter, is updated too.

    Raises:
        ValueError: if a value is out of range.
    """

    rank: int = 256
    alpha: float = 256.0
    dropout: float = 0.0
    targets: tuple[str, ...] = EGOX_TARGETS
    start: Path | None = None
    patch_embedding: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"A LoRA has a rank from 1 up, an alpha above 0 and a dropout from 0 up to below 1, got {self}."
            )
        known = layers_of_a_block()
        if unknown := [target for target in self.targets if target not in known]:
            raise ValueError(f"A block of Wan has no layer {unknown[0]!r}; the targets are of {', '.join(known)}.")
        if not self.targets:
            raise ValueError("A LoRA updates at least one layer: name its targets, or leave them out for EgoX's.")

    def peft_config(self) -> LoraConfig:
        """Return them as peft takes them."""
        from peft import LoraConfig

        targets = (*self.targets, PATCH_EMBEDDING) if self.patch_embedding else self.targets
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=[in_diffusers(target) for target in targets],
        )


def add_lora(network: WanTransformer3DModel, settings: LoraSettings, seed: int) -> None:
    """Freeze a transformer and put an untrained LoRA on it, in place: its factors in float32 are all that trains."""
    network.requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.add_adapter(settings.peft_config())
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def lora_factors(network: WanTransformer3DModel) -> dict[tuple[str, str], Tensor]:
    """Return the LoRA's parameters by layer in ComfyUI's names and factor, "down" or "up"."""
    found = {}
    for name, parameter in network.named_parameters():
        if (split := split_key(name)) is not None:
            found[split] = parameter
    return found


def write_lora(
    path: Path,
    factors: Mapping[tuple[str, str], Tensor],
    settings: LoraSettings,
    header: EgoXLoraHeader,
    dtype: torch.dtype = torch.bfloat16,
    names: str = COMFYUI,
) -> None:
    """Write a LoRA, whole or not at all.

    Args:
        path: NAME.safetensors.
        factors: as `lora_factors` gives them.
        settings: what it was made by.
        header: how it was trained.
        dtype: of the factors in the file; loaders read them in bfloat16 at most.
        names: COMFYUI's, or DIFFUSERS', which its `load_lora_weights` reads.

    Raises:
        ValueError: if a factor holds values that are not finite.
    """
    tensors = {}
    for (layer, factor), tensor in factors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"The LoRA's factor {factor} of {layer} is not finite: take an earlier checkpoint.")
        name = f"{_PREFIXES[names]}{layer if names == COMFYUI else _in_diffusers(layer)}"
        tensors[f"{name}{_SUFFIXES[factor]}"] = tensor.detach().to(dtype)
        if names == COMFYUI:
            tensors[f"{name}.alpha"] = torch.tensor(float(settings.alpha))
    strings = header.to_strings()
    if names == DIFFUSERS:
        strings[DIFFUSERS_METADATA] = _for_diffusers(settings)
    with whole_file(path) as unfinished:
        write_safetensors(unfinished, tensors, strings)


def _in_diffusers(layer: str) -> str:
    block, within = block_of(layer), in_diffusers(within_block(layer))
    return within if block is None else f"blocks.{block}.{within}"


def _for_diffusers(settings: LoraSettings) -> str:
    """Return peft's settings as diffusers writes them into a header."""
    config = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in settings.peft_config().to_dict().items()
    }
    return json.dumps({f"{_PREFIXES[DIFFUSERS]}{key}": value for key, value in config.items()}, sort_keys=True)


@torch.no_grad()
def read_lora_into(network: WanTransformer3DModel, path: Path, settings: LoraSettings) -> None:
    """Put the factors of a file, in any trainer's names, into a LoRA that `add_lora` made.

    Raises:
        ValueError: if it has other layers, another rank or another scale than the LoRA.
    """
    tensors, strings = read_safetensors(path, _WHAT_FILE)
    saved = saved_alpha(path.name, strings)
    found = factors_by_layer(path.name, tensors)
    own = lora_factors(network)
    if (theirs := set(found)) != (ours := {layer for layer, _ in own}):
        odd = sorted(theirs ^ ours)
        raise ValueError(
            f"{path.name} updates {len(theirs)} layers and the LoRA to be trained {len(ours)}; {odd[0]} is in one "
            "alone. Give targets and base model that it was trained with."
        )
    for (layer, factor), parameter in own.items():
        value = found[layer][factor]
        if value.shape != parameter.shape:
            raise ValueError(
                f"{path.name} has {list(value.shape)} for {factor} of {layer}, and the LoRA to be trained "
                f"{list(parameter.shape)}: set the rank that it was trained with."
            )
        parameter.copy_(value)
    for layer, factors in found.items():
        rank = factors["down"].shape[0]
        alpha = float(factors["alpha"]) if "alpha" in factors else saved or float(rank)
        if alpha != settings.alpha:
            raise ValueError(f"{path.name} has alpha {alpha:g} in {layer}: set alpha = {alpha:g} under [lora].")
