"""Components of Exo2EgoSyn with seeded random weights, of a size that fits the tiny Wan.

Every name is written out as docs/exo2egosyn-format.md lists it: a name that changes in the pack fails here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from exo2ego.networks.components.files import write_component
from exo2ego.networks.components.metadata import METADATA_OF, Component, ComponentMetadata

from .tiny_wan import DIM, LATENT_CHANNELS, LAYERS
from .tiny_weights import Weights

PLUCKER_CHANNELS = 6
I2V_CHANNELS = 36

ALIGN_DIM, ALIGN_HEADS, ALIGN_DIM_HEAD, ALIGN_BLOCKS, ALIGN_PATCH = 32, 2, 12, 2, 2
ALIGN_FF_INNER = 85  # 32 * 4 * 2/3, rounded down
POSE_DIM, UNSHUFFLE, KERNEL = 24, 16, 3
RANK, ALPHA = 4, 8.0
LIGHT_WIDTH = 128  # of AC3D's blocks in VAWAN: one head


@dataclass(frozen=True)
class TinyComponent:
    """What `write_component` takes."""

    metadata: ComponentMetadata
    tensors: dict[str, torch.Tensor]

    def write(self, path: Path, **options) -> Path:
        return write_component(path, self.metadata, self.tensors, **options)


def tiny_component(
    component: Component, *, seed: int = 0, dim: int = DIM, blocks: int = LAYERS, views: int = 4, **metadata
) -> TinyComponent:
    """Return a trained-looking component; `metadata` sets further fields of its header, such as `fuse`."""
    weights = Weights(seed + 100)
    if component is Component.MULTIEXOCON:
        metadata = {"exo_pos": "none", **metadata}
    if component is Component.POSEINJ:
        metadata = {"fuse": "concat", **metadata}
    if component is Component.ALIGN:
        _align(weights)
    elif component is Component.MULTIEXOCON:
        _multiexocon(weights, dim, blocks, views if metadata["exo_pos"] == "learned" else 0)
    elif component is Component.POSEINJ:
        _poseinj(weights, dim, metadata["fuse"])
    else:
        if component is Component.VAWAN:
            weights.linear("patch_embedding", dim, I2V_CHANNELS + LATENT_CHANNELS * views, 1, 2, 2)
            _vawan_poses(weights, dim, 1 if metadata.get("pose_shared") else blocks, metadata.get("pose"))
        _lora(weights, dim, blocks)
    # A LoRA's factors are read as bfloat16: values that it holds exactly are the same before and after.
    tensors = {name: v.bfloat16().float() if ".lora_" in name else v for name, v in weights.tensors.items()}
    return TinyComponent(METADATA_OF[component](num_views=views, **metadata), tensors)


def _align(weights: Weights) -> None:
    patch = (LATENT_CHANNELS + PLUCKER_CHANNELS) * ALIGN_PATCH**2
    inner = ALIGN_HEADS * ALIGN_DIM_HEAD
    weights.layer_norm("stem.norm_in", patch)
    weights.linear("stem.proj", ALIGN_DIM, patch)
    weights.layer_norm("stem.norm_out", ALIGN_DIM)
    for block in range(ALIGN_BLOCKS):
        for half in ("spatial", "temporal"):
            name = f"blocks.{block}.{half}"
            weights.linear(f"{name}.peg", ALIGN_DIM, 1, 3, 3, 3)
            weights.scale(f"{name}.attn.norm.weight", ALIGN_DIM)
            weights.linear(f"{name}.attn.to_q", inner, ALIGN_DIM, bias=False)
            weights.linear(f"{name}.attn.to_kv", 2 * inner, ALIGN_DIM, bias=False)
            weights.linear(f"{name}.attn.to_out", ALIGN_DIM, inner, bias=False)
            weights.scale(f"{name}.attn.q_scale", ALIGN_DIM_HEAD)
            weights.scale(f"{name}.attn.k_scale", ALIGN_DIM_HEAD)
            weights.layer_norm(f"{name}.ff.norm", ALIGN_DIM)
            weights.linear(f"{name}.ff.w_in", 2 * ALIGN_FF_INNER, ALIGN_DIM, bias=False)
            weights.linear(f"{name}.ff.w_out", ALIGN_DIM, ALIGN_FF_INNER, bias=False)
    weights.scale("norm_out.weight", ALIGN_DIM)
    weights.linear("head", patch, ALIGN_DIM)


def _multiexocon(weights: Weights, dim: int, blocks: int, learned_views: int) -> None:
    weights.linear("exo_patch_embed", dim, LATENT_CHANNELS, 1, 2, 2)
    for block in range(blocks):
        layer = f"blocks.{block}.cross_attn"
        for name in ("q", "k", "v", "o"):
            weights.linear(f"{layer}.{name}", dim, dim)
        weights.scale(f"{layer}.norm_q.weight", dim)
        weights.scale(f"{layer}.norm_k.weight", dim)
    if learned_views:
        weights.normal("view_emb", learned_views, dim)
        weights.normal("pos_gain", 3)


def _poseinj(weights: Weights, dim: int, fuse: str) -> None:
    weights.linear("stem", POSE_DIM, PLUCKER_CHANNELS * UNSHUFFLE**2, 1)
    weights.linear("down1", POSE_DIM, POSE_DIM, KERNEL)
    weights.linear("down2", POSE_DIM, POSE_DIM, KERNEL)
    weights.linear("out", POSE_DIM, POSE_DIM, 1)
    if fuse == "concat":
        weights.linear("fuse.delta_x", dim, dim, bias=False)
    weights.linear("fuse.pose", dim, POSE_DIM)


def _vawan_poses(weights: Weights, dim: int, blocks: int, pose: str | None) -> None:
    if pose == "time_pose":
        weights.linear("pose.proj_in", dim, 12)
        weights.linear("pose.proj_out", dim, dim)
    if pose != "ac3d":
        return
    weights.linear("pose.stem", LIGHT_WIDTH, PLUCKER_CHANNELS * UNSHUFFLE**2, 1)
    weights.linear("pose.down1", LIGHT_WIDTH, LIGHT_WIDTH, KERNEL)
    weights.linear("pose.down2", LIGHT_WIDTH, LIGHT_WIDTH, KERNEL)
    weights.linear("pose.out", LIGHT_WIDTH, LIGHT_WIDTH, 1)
    for block in range(blocks):
        layer = f"pose.blocks.{block}"
        weights.linear(f"{layer}.down", LIGHT_WIDTH, dim)
        for name in ("q", "k", "v", "o"):
            weights.linear(f"{layer}.{name}", LIGHT_WIDTH, LIGHT_WIDTH)
        weights.linear(f"{layer}.ff_in", 4 * LIGHT_WIDTH, LIGHT_WIDTH)
        weights.linear(f"{layer}.ff_out", LIGHT_WIDTH, 4 * LIGHT_WIDTH)
        weights.linear(f"{layer}.up", dim, LIGHT_WIDTH)


def _lora(weights: Weights, dim: int, blocks: int) -> None:
    for block in range(blocks):
        for name in ("q", "k", "v", "o"):
            layer = f"diffusion_model.blocks.{block}.self_attn.{name}"
            weights.linear(f"{layer}.lora_A", RANK, dim, bias=False)
            weights.linear(f"{layer}.lora_B", dim, RANK, bias=False)
            weights.tensors[f"{layer}.alpha"] = torch.tensor(ALPHA)
