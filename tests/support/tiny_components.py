"""Tiny trained components of Exo2EgoSyn, for the tiny Wan 2.2 of the tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exo2ego.networks.components.files import LoadedComponent, write_component
from exo2ego.networks.components.metadata import METADATA_OF, Component
from exo2ego.networks.components.shapes import check_tensors, component_shapes
from exo2ego.networks.exo2egosyn.ego_exo_align import AlignConfig
from exo2ego.networks.exo2egosyn.exo_tokens import ExoTokenConfig
from exo2ego.networks.exo2egosyn.pose_injection import PoseConfig
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig
from exo2ego.networks.exo2egosyn.vawan import VawanConfig

from .tiny_wan import DIM, LAYERS, wan_state_dict

VIEWS = 4
LORA = LoraConfig(DIM, LAYERS, rank=4, alpha=8.0)
CONFIGS = {
    Component.ALIGN: AlignConfig(dim=16, heads=2, dim_head=8, num_blocks=1),
    Component.MULTIEXOCON: ExoTokenConfig(DIM, VIEWS, "none", LAYERS),
    Component.POSEINJ: PoseConfig(DIM, pose_dim=8),
    Component.LORA: LORA,
    Component.VAWAN: VawanConfig(VIEWS, LORA),
}
# What VAWAN may have of the ego camera's poses; a light block of the paper is 512 or 2048 wide.
VAWAN_POSES = {
    "ac3d": {"pose": "ac3d", "pose_width": 128},
    "ac3d wider": {"pose": "ac3d", "pose_width": 256},
    "ac3d shared": {"pose": "ac3d", "pose_width": 128, "pose_shared": True},
    "time and pose": {"pose": "time_pose"},
}
# Parts that start as zero in training, and what a file says beside the sizes that follow from its tensors.
_ZERO = ("fuse.", ".lora_B.weight", "view_emb", "pos_gain", ".up.", "proj_out.")
_TOLD = {
    Component.ALIGN: {"heads": 2, "dim_head": 8, "patch_size": 2},
    Component.MULTIEXOCON: {"num_views": VIEWS, "exo_pos": "none"},
    Component.VAWAN: {"num_views": VIEWS},
}


def component_tensors(component: Component, seed: int, trained: bool, **config: Any) -> dict[str, Tensor]:
    """Return random tensors of a component: large enough to show, or as training starts with them."""
    random = torch.Generator().manual_seed(seed)
    base = wan_state_dict("i2v_2.2")
    tensors = {}
    for name, shape in component_shapes(replace(CONFIGS[component], **config)).items():
        values = torch.randn(shape, generator=random)
        if name.endswith(".alpha"):
            values = torch.tensor(LORA.alpha)
        elif not trained and any(part in name for part in _ZERO):
            values = torch.zeros(shape)
        elif name == "patch_embedding.weight":
            values = values * (4 * shape[1]) ** -0.5 * float(trained)
            values[:, :36] += base[name]
        elif name == "patch_embedding.bias":
            values = base[name] + 0.1 * values * float(trained)
        elif name.endswith("scale") or ("norm" in name and name.endswith("weight")):
            values = 1 + 0.1 * values
        elif len(shape) > 1:
            values = values * values[0].numel() ** -0.5
        else:
            values = 0.1 * values
        # A LoRA's factors are read as bfloat16: values that it holds exactly are the same before and after.
        tensors[name] = values.bfloat16().float() if ".lora_" in name else values
    return tensors


def tiny_component(
    component: Component, *, seed: int = 10, trained: bool = True, told: Any = None, **config: Any
) -> LoadedComponent:
    """Return a component as its file would give it; `told` is what its header says beside the usual."""
    metadata = METADATA_OF[component](**{**_TOLD.get(component, {}), **(told or {})})
    tensors = component_tensors(component, seed, trained, **config)
    return LoadedComponent(f"tiny_{component.value}.safetensors", metadata, check_tensors(metadata, tensors), tensors)


def tiny_vawan(poses: str, **settings: Any) -> LoadedComponent:
    """Return a VAWAN with poses, by its name in `VAWAN_POSES`."""
    config = VAWAN_POSES[poses]
    return tiny_component(Component.VAWAN, told={"num_views": VIEWS, **config}, **{**config, **settings})


def write_tiny_component(folder: Path, component: Component, name: str | None = None, **settings: Any) -> Path:
    """Write what `tiny_component` gives; returns the file."""
    part = tiny_component(component, **settings)
    return write_component(folder / (name or part.file), part.metadata, part.state_dict)
