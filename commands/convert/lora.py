"""The component `lora` out of a LoRA on Wan's self-attention in any trainer's names."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from torch import Tensor

from ...networks.components.metadata import LoraMetadata
from ...networks.components.shapes import check_tensors
from ...networks.weights.lora_keys import split_key
from ...networks.weights.lora_layers import check_floating, saved_alpha
from .checkpoint import Checkpoint, some
from .part import Part

_FACTORS = {"down": "lora_A.weight", "up": "lora_B.weight", "alpha": "alpha"}
_PEFT_CONFIG = "adapter_config.json"
_SPECIAL = ("alpha_pattern", "rank_pattern", "use_rslora", "use_dora")


def lora_part(metadata: LoraMetadata, checkpoint: Checkpoint) -> Part:
    """Return the component.

    Raises:
        ValueError: for keys that name no layer of Wan, layers other than the self-attention's, several alphas, or an
            alpha other than the header shall say.
    """
    factors = _sorted(checkpoint)
    check_floating(checkpoint.tensors)
    alpha, note = _alpha(metadata, checkpoint, factors)
    tensors = {}
    for layer, found in factors.items():
        name = f"diffusion_model.{layer}"
        tensors |= {f"{name}.{_FACTORS[kind]}": tensor for kind, tensor in found.items() if kind != "alpha"}
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    metadata = replace(metadata, alpha=alpha)
    config = check_tensors(metadata, tensors)
    size = f"rank {config.rank}, {config.blocks} blocks, width {config.dim}."
    return Part(replace(metadata, rank=config.rank), tensors, [size, note])


def _sorted(checkpoint: Checkpoint) -> dict[str, dict[str, Tensor]]:
    """Return the factors of each layer, block by block."""
    factors: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, tensor in checkpoint.tensors.items():
        if (split := split_key(key)) is None:
            unknown.append(key)
        elif split[1] in factors.setdefault(split[0], {}):
            raise ValueError(f"{checkpoint.name} holds the factor {split[1]} of {split[0]} twice: export one LoRA.")
        else:
            factors[split[0]][split[1]] = tensor
    if unknown:
        raise ValueError(
            f"{checkpoint.name}: {len(unknown)} of {len(checkpoint.tensors)} tensors are not a LoRA on Wan's blocks "
            f"({some(unknown)}). Give the LoRA's file alone."
        )
    if others := sorted(layer for layer in factors if ".self_attn." not in layer):
        raise ValueError(
            f"{checkpoint.name} also updates {len(others)} layers beside the self-attention ({some(others)}), and the "
            "component lora holds self_attn.q, k, v and o alone. Load such a LoRA with LoraLoaderModelOnly."
        )
    return dict(sorted(factors.items(), key=lambda item: (int(item[0].split(".")[1]), item[0])))


def _alpha(metadata: LoraMetadata, checkpoint: Checkpoint, factors: dict[str, dict[str, Tensor]]) -> tuple[float, str]:
    """Return alpha, and where it comes from."""
    beside = [float(found["alpha"]) for found in factors.values() if "alpha" in found]
    if len(set(beside)) > 1 or len(beside) not in (0, len(factors)):
        raise ValueError(
            f"{checkpoint.name}: alpha is {some(f'{value:g}' for value in sorted(set(beside)))} in {len(beside)} of "
            f"{len(factors)} layers, and a component has one for all. Export it again."
        )
    told = {
        f"the tensors of {checkpoint.name}": beside[0] if beside else None,
        f"the header of {checkpoint.name}": saved_alpha(checkpoint.name, checkpoint.strings),
        _PEFT_CONFIG: _of_peft(checkpoint),
        "--alpha": metadata.alpha,
    }
    found = {where: value for where, value in told.items() if value is not None}
    if len(set(found.values())) > 1:
        raise ValueError(f"alpha is {', '.join(f'{value:g} in {where}' for where, value in found.items())}: which?")
    if found:
        where, value = next(iter(found.items()))
        return value, f"alpha {value:g}, from {where}."
    down = next((layer["down"] for layer in factors.values() if "down" in layer), None)
    rank = float(down.shape[0]) if down is not None and down.ndim else 1.0
    return rank, f"No alpha is stored, so the scale is 1 (alpha {rank:g}, the rank). If it is another, give --alpha."


def _of_peft(checkpoint: Checkpoint) -> float | None:
    """Return the alpha of peft's settings, which lie beside its file."""
    path = checkpoint.path.with_name(_PEFT_CONFIG)
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        alpha = settings.get("lora_alpha")
        special = [name for name in _SPECIAL if settings.get(name)]
        value = None if alpha is None else float(alpha)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} beside {checkpoint.name} cannot be read ({error!r}).") from error
    if special:
        raise ValueError(f"{checkpoint.name} was trained with {special[0]}, which is not read: export a plain LoRA.")
    return value
