"""Networks with the weights of their component files.

The networks themselves know nothing of files. Each is made on the meta device and takes the file's own tensors, so that
those mapped from the file are read when they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ...common.wan_grid import I2V_CHANNELS
from ..exo2egosyn.ego_exo_align import EgoExoAlign
from ..exo2egosyn.exo_tokens import ExoTokenizer
from ..exo2egosyn.pose_blocks import PoseBlocks
from ..exo2egosyn.pose_injection import PoseInjection
from ..exo2egosyn.pose_time import PoseTime
from ..exo2egosyn.vawan import POSE_PREFIX, ExoChannels, pose_network
from .files import LoadedComponent

# How names of MultiExoCon's tensors begin that take the place of Wan's own.
_CROSS_ATTENTION = "blocks."

Network = TypeVar("Network", bound=nn.Module)


def build_align(
    loaded: LoadedComponent, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
) -> EgoExoAlign:
    """Return the network of a file that `read_component` read.

    Args:
        loaded: the file's contents.
        operations: where the layers come from: torch.nn or ComfyUI's operations.
        device: where the parameters shall lie; None: where they are.
        dtype: their type; None: the file's.
    """
    return _with_weights(EgoExoAlign(loaded.config, operations, device="meta"), loaded.state_dict, device, dtype)


def build_exo_tokenizer(
    loaded: LoadedComponent, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
) -> ExoTokenizer:
    """Return the tokeniser of a file that `read_component` read; arguments as of `build_align`."""
    own = {key: tensor for key, tensor in loaded.state_dict.items() if not key.startswith(_CROSS_ATTENTION)}
    return _with_weights(ExoTokenizer(loaded.config, operations, device="meta"), own, device, dtype)


def cross_attention_set(loaded: LoadedComponent) -> dict[str, Tensor]:
    """Return the cross-attention weights of a file that `read_component` read, keys as `cross_attention_shapes`."""
    return {key: tensor for key, tensor in loaded.state_dict.items() if key.startswith(_CROSS_ATTENTION)}


def build_pose_injection(
    loaded: LoadedComponent, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
) -> PoseInjection:
    """Return the network of a file that `read_component` read; arguments as of `build_align`."""
    return _with_weights(PoseInjection(loaded.config, operations, device="meta"), loaded.state_dict, device, dtype)


def build_exo_channels(
    loaded: LoadedComponent, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
) -> ExoChannels:
    """Return the new columns of a file that `read_component` read; arguments as of `build_align`."""
    new = loaded.state_dict["patch_embedding.weight"][:, I2V_CHANNELS:].contiguous()
    return _with_weights(ExoChannels(loaded.config, operations, device="meta"), {"embed.weight": new}, device, dtype)


def base_patch_embedding(loaded: LoadedComponent) -> dict[str, Tensor]:
    """Return the trained weight [dim, 36, 1, 2, 2] and bias of the base model's own columns, by the model's keys."""
    weight = loaded.state_dict["patch_embedding.weight"][:, :I2V_CHANNELS].contiguous()
    return {"patch_embedding.weight": weight, "patch_embedding.bias": loaded.state_dict["patch_embedding.bias"]}


def build_pose_network(
    loaded: LoadedComponent, operations: Any = nn, device: Any = None, dtype: torch.dtype | None = None
) -> PoseBlocks | PoseTime | None:
    """Return the network that reads the poses, None where the file has none; arguments as of `build_align`."""
    network = pose_network(loaded.config, operations, device="meta")
    if network is None:
        return None
    tensors = {
        key.removeprefix(POSE_PREFIX): tensor
        for key, tensor in loaded.state_dict.items()
        if key.startswith(POSE_PREFIX)
    }
    return _with_weights(network, tensors, device, dtype)


def _with_weights(network: Network, tensors: Mapping[str, Tensor], device: Any, dtype: torch.dtype | None) -> Network:
    network.load_state_dict(tensors, assign=True)
    return network.to(device=device, dtype=dtype)
