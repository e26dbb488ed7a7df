"""The component `align` out of a network in the names of GenieRedux, which the paper's EgoExo-Align is built on.

GenieRedux (Savov et al., MIT) keeps the transformer's blocks in `layers.{i}.0`, with `spatial_` and `temporal_` before
`peg`, `attention` and `ff`; its STViViT has the patch embedding in `to_patch_emb` and the head in `to_pixels`, for the
first frame and for all others apart. EgoExo-Align has one of each for all views.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from ...networks.components.metadata import AlignMetadata
from ...networks.components.shapes import check_tensors
from .checkpoint import Checkpoint, some
from .part import Part

_HALF = re.compile(r"(?P<prefix>.*?)layers\.(?P<block>\d+)\.0\.(?P<half>spatial|temporal)_(?P<rest>.+)")
_WITHIN = {
    "peg.dsconv.weight": "peg.weight",
    "peg.dsconv.bias": "peg.bias",
    "attention.norm.gamma": "attn.norm.weight",
    "attention.to_q.weight": "attn.to_q.weight",
    "attention.to_kv.weight": "attn.to_kv.weight",
    "attention.to_out.weight": "attn.to_out.weight",
    "attention.q_scale": "attn.q_scale",
    "attention.k_scale": "attn.k_scale",
    "ff.0.weight": "ff.norm.weight",
    "ff.0.bias": "ff.norm.bias",
    "ff.1.weight": "ff.w_in.weight",
    "ff.4.weight": "ff.w_out.weight",
}
# Gains for a context that self-attention has not: no gradient ever reaches them.
_UNUSED = ("attention.context_norm.gamma", "attention.context_norm.beta")
# A shift of zero that GenieRedux saves with its gain-only LayerNorm.
_ZERO = ("attention.norm.beta",)
# A layer of a Sequential in GenieRedux -> the component's; the other places hold rearrangements.
_STEM = {"1": "stem.norm_in", "2": "stem.proj", "3": "stem.norm_out"}
_ENDS = re.compile(r"(?:.*\.)?(to_patch_emb|to_pixels)(_first_frame)?\.(\d)\.(weight|bias)")
_OWN = re.compile(r"(?:.*\.)?((?:stem\.(?:norm_in|proj|norm_out)|head)\.(?:weight|bias))")


def align_part(metadata: AlignMetadata, checkpoint: Checkpoint) -> Part:
    """Return the component, with the sizes in its header.

    Raises:
        ValueError: for names of another network, more than one transformer, tensors that EgoExo-Align does not have,
            and tensors that are missing or of another shape.
    """
    tensors: dict[str, Tensor] = {}
    unknown: list[str] = []
    unused = 0
    prefix = _prefix(checkpoint)
    for key, tensor in checkpoint.tensors.items():
        if (match := _HALF.fullmatch(key)) and match["rest"] in (*_UNUSED, *_ZERO):
            _check_zero(checkpoint.name, key, tensor)
            unused += match["rest"] == _UNUSED[0]
        elif key == f"{prefix}norm_out.beta":
            _check_zero(checkpoint.name, key, tensor)
        elif (name := _name(key, prefix)) is None:
            unknown.append(key)
        elif name in tensors and not torch.equal(tensors[name], tensor):
            raise ValueError(
                f"{checkpoint.name}: {key} and its counterpart for the other frames differ, and EgoExo-Align has one "
                f"{name.split('.')[0]} for all views."
            )
        else:
            tensors[name] = tensor
    if unknown:
        raise ValueError(
            f"{checkpoint.name}: {len(unknown)} tensors have no place in EgoExo-Align ({some(unknown)}). It is the "
            "STTransformer alone with a patch embedding and a head: no codebook, no decoder, no position bias."
        )
    config = check_tensors(metadata, tensors)
    sizes = ("dim", "heads", "dim_head", "num_blocks", "ff_mult", "patch_size")
    notes = [
        f"width {config.dim}, {config.num_blocks} blocks, {config.heads} heads of {config.dim_head}, patches of "
        f"{config.patch_size} x {config.patch_size}.",
        "Names do not show the order of the halves, nor whether it is causal: it must be order='st', causal=False, "
        "peg_causal=False, as in the paper.",
    ]
    if unused:
        notes.append(f"Left out: {unused} gains of context_norm, which self-attention does not use.")
    return Part(replace(metadata, **{name: getattr(config, name) for name in sizes}), tensors, notes)


def _prefix(checkpoint: Checkpoint) -> str:
    """Return what stands before the names of the transformer."""
    prefixes = {match["prefix"] for match in map(_HALF.fullmatch, checkpoint.tensors) if match}
    if not prefixes:
        raise ValueError(
            f"{checkpoint.name} contains no STTransformer in GenieRedux's names, such as "
            f"layers.0.0.spatial_attention.to_q.weight; it has {some(checkpoint.tensors)}."
        )
    if len(prefixes) > 1:
        raise ValueError(
            f"{checkpoint.name} holds {len(prefixes)} transformers ({some(sorted(prefixes))}), and EgoExo-Align is "
            "one. Export that one."
        )
    return prefixes.pop()


def _name(key: str, prefix: str) -> str | None:
    """Return a tensor's name in the component, or None."""
    if match := _HALF.fullmatch(key):
        within = _WITHIN.get(match["rest"])
        return None if within is None else f"blocks.{match['block']}.{match['half']}.{within}"
    if key == f"{prefix}norm_out.gamma":
        return "norm_out.weight"
    if match := _ENDS.fullmatch(key):
        layer = _STEM.get(match[3]) if match[1] == "to_patch_emb" else {"0": "head"}.get(match[3])
        return None if layer is None else f"{layer}.{match[4]}"
    match = _OWN.fullmatch(key)
    return None if match is None else match[1]


def _check_zero(file: str, key: str, tensor: Tensor) -> None:
    if key.endswith(".beta") and tensor.any():
        raise ValueError(f"{file}: {key} is not zero, and EgoExo-Align's LayerNorm there has no shift.")
