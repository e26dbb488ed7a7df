"""Component files from what a checkpoint has trained (docs/exo2egosyn-format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...networks.components.files import write_component
from ...networks.components.metadata import ComponentMetadata
from ...networks.exo2egosyn.self_attention_lora import with_known_names
from ...networks.weights.lora_keys import split_key
from ...networks.weights.wan_names import from_diffusers
from ..recipe import Recipe
from ..state import Checkpoint

TRANSFORMER = "transformer."


def told(recipe: Recipe, step: int, stage: int | None) -> dict[str, Any]:
    """Return what the header of every component says of its training."""
    syn, data = recipe.exo2egosyn, recipe.data
    return {
        "stage": stage,
        "step": step,
        "category": syn.category,
        "num_views": syn.views,
        "image_size": data.ego_size,
        "num_frames": data.frames,
        "frame_stride": syn.frame_stride,
        "rays": syn.rays,
        "license": recipe.release.license,
        "trained_by": recipe.release.trained_by,
    }


def told_of_guidance(recipe: Recipe) -> dict[str, Any]:
    """Return what the header says of CFG and the first frame's condition."""
    syn = recipe.exo2egosyn
    return {"cond_dropout": syn.exo_dropout, "cond_tail": syn.cond_tail, "guidance": recipe.samples.cfg}


def lora_tensors(best: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return the LoRA among trained parameters, under the component's names and in bfloat16."""
    return with_known_names({name: value for name, value in best.items() if split_key(name) is not None}, alpha)


def wan_tensors(best: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Wan's own weights among trained parameters, under ComfyUI's names."""
    return {
        from_diffusers(name.removeprefix(TRANSFORMER)): value
        for name, value in best.items()
        if name.startswith(TRANSFORMER) and split_key(name) is None
    }


def part_tensors(best: Mapping[str, Tensor], name: str, prefix: str = "") -> dict[str, Tensor]:
    """Return what was trained of a part of the network, such as "tokenizer", under `prefix`."""
    start = f"{name}."
    return {f"{prefix}{key.removeprefix(start)}": value for key, value in best.items() if key.startswith(start)}


def write_checked(
    path: Path,
    metadata: ComponentMetadata,
    tensors: Mapping[str, Tensor],
    checkpoint: Checkpoint,
    dtypes: Mapping[str, torch.dtype] | None = None,
) -> str:
    """Write a component whose weights are finite; returns what was written.

    Raises:
        ValueError: if they are not, or do not fit the component: the checkpoint is of another training.
    """
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise ValueError(f"{checkpoint.path}: {name} holds values that are not finite: take an earlier checkpoint.")
    try:
        written = write_component(path, metadata, tensors, dtypes=dtypes)
    except ValueError as error:
        raise ValueError(f"The component {metadata.component.value} is not written: {error}") from error
    count = sum(value.numel() for value in tensors.values())
    return f"{written}: {metadata.component.value}, {count:,} numbers, after step {checkpoint.step}"
