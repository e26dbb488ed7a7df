"""Which tensors a component's file must hold: from its metadata, or from the tensors where the metadata is silent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ...common.messages import few
from ...common.wan_grid import I2V_CHANNELS, LATENT_CHANNELS, PLUCKER_CHANNELS
from ..exo2egosyn.ego_exo_align import AlignConfig, EgoExoAlign
from ..exo2egosyn.exo_tokens import ExoTokenConfig, ExoTokenizer, cross_attention_shapes
from ..exo2egosyn.pose_injection import PoseConfig, PoseInjection
from ..exo2egosyn.self_attention_lora import LoraConfig, lora_shapes
from ..exo2egosyn.vawan import AC3D, NO_POSE, POSE_PREFIX, TIME_POSE, VawanConfig, patch_embedding_shapes, pose_network
from .metadata import (
    EXPORT_AGAIN,
    AlignMetadata,
    ComponentMetadata,
    LoraMetadata,
    MultiExoConMetadata,
    PoseInjMetadata,
    VawanMetadata,
)

ComponentConfig = AlignConfig | ExoTokenConfig | PoseConfig | LoraConfig | VawanConfig
Shapes = dict[str, tuple[int, ...]]

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
_FIRST_LORA = "diffusion_model.blocks.0.self_attn.q"


def check_tensors(metadata: ComponentMetadata, tensors: Mapping[str, Tensor]) -> ComponentConfig:
    """Return the sizes of a component, with every tensor checked against them.

    Raises:
        ValueError: if tensors are missing, left over, of another shape or no floating-point numbers.
    """
    config = component_config(metadata, tensors)
    expected = component_shapes(config)
    if missing := sorted(set(expected) - set(tensors)):
        raise ValueError(
            f"{len(missing)} tensors are missing ({few(missing)}). The file is not whole: export it again."
        )
    if unknown := sorted(set(tensors) - set(expected)):
        raise ValueError(
            f"{len(unknown)} tensors do not belong to the component {metadata.component.value} ({few(unknown)}). "
            "Remove them, or check which component the file holds."
        )
    for key, shape in expected.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{key} is expected as {list(shape)}, got {list(tensor.shape)}. The tensors are those of another size "
                "than the file says, or of another model: export it again."
            )
        if not tensor.is_floating_point():
            raise ValueError(f"{key} holds {tensor.dtype}, expected floating-point numbers: export it in bfloat16.")
        if key.endswith(".alpha") and float(tensor) != _lora_config(config).alpha:
            raise ValueError(
                f"{key} is {float(tensor):g}, and alpha is {_lora_config(config).alpha:g} elsewhere. {EXPORT_AGAIN}"
            )
    return config


def component_config(metadata: ComponentMetadata, tensors: Mapping[str, Tensor]) -> ComponentConfig:
    """Return the sizes of a component: what the metadata says, and the rest by the tensors.

    Raises:
        ValueError: if a tensor that tells a size is missing or has too few axes.
    """
    if isinstance(metadata, AlignMetadata):
        return _align_config(metadata, tensors)
    if isinstance(metadata, MultiExoConMetadata):
        views = metadata.num_views or (_size(tensors, "view_emb", 0) if "view_emb" in tensors else ExoTokenConfig.views)
        exo_pos = metadata.exo_pos or ("learned" if "view_emb" in tensors else "none")
        return ExoTokenConfig(_size(tensors, "exo_patch_embed.weight", 0), views, exo_pos, _count_blocks(tensors))
    if isinstance(metadata, PoseInjMetadata):
        return PoseConfig(
            dim=_size(tensors, "fuse.pose.weight", 0),
            pose_dim=_size(tensors, "fuse.pose.weight", 1),
            unshuffle=metadata.unshuffle or math.isqrt(_size(tensors, "stem.weight", 1) // PLUCKER_CHANNELS),
            kernel=metadata.kernel or _size(tensors, "down1.weight", 2),
            fuse=metadata.fuse or ("concat" if "fuse.delta_x.weight" in tensors else "additive"),
        )
    assert isinstance(metadata, LoraMetadata)
    lora = LoraConfig(
        dim=_size(tensors, f"{_FIRST_LORA}.lora_A.weight", 1),
        blocks=_count_blocks(tensors),
        rank=metadata.rank or _size(tensors, f"{_FIRST_LORA}.lora_A.weight", 0),
        alpha=metadata.alpha or _number(tensors, f"{_FIRST_LORA}.alpha"),
    )
    if not isinstance(metadata, VawanMetadata):
        return lora
    return _vawan_config(metadata, tensors, lora)


def component_shapes(config: ComponentConfig) -> Shapes:
    """Return names and shapes of all tensors of a component."""
    if isinstance(config, AlignConfig):
        return _shapes_of(EgoExoAlign(config, device="meta"))
    if isinstance(config, ExoTokenConfig):
        tokenizer = ExoTokenizer(config, device="meta")
        return {**_shapes_of(tokenizer), **cross_attention_shapes(config.dim, config.blocks)}
    if isinstance(config, PoseConfig):
        return _shapes_of(PoseInjection(config, device="meta"))
    if isinstance(config, VawanConfig):
        network = pose_network(config, device="meta")
        poses = {} if network is None else _shapes_of(network)
        named = {f"{POSE_PREFIX}{key}": shape for key, shape in poses.items()}
        return {**patch_embedding_shapes(config), **lora_shapes(config.lora), **named}
    return lora_shapes(config)


def _align_config(metadata: AlignMetadata, tensors: Mapping[str, Tensor]) -> AlignConfig:
    num_blocks = _count_blocks(tensors)
    if metadata.num_blocks not in (None, num_blocks):
        raise ValueError(
            f"num_blocks is {metadata.num_blocks}, and the file holds tensors of {num_blocks} blocks. {EXPORT_AGAIN}"
        )
    dim = metadata.dim or _size(tensors, "norm_out.weight", 0)
    dim_head = metadata.dim_head or _size(tensors, "blocks.0.spatial.attn.q_scale", 0)
    patch_channels = _size(tensors, "head.bias", 0)
    return AlignConfig(
        dim=dim,
        heads=metadata.heads or _size(tensors, "blocks.0.spatial.attn.to_q.weight", 0) // dim_head,
        dim_head=dim_head,
        num_blocks=num_blocks,
        ff_mult=metadata.ff_mult or _ff_mult(dim, _size(tensors, "blocks.0.spatial.ff.w_out.weight", 1)),
        patch_size=metadata.patch_size or math.isqrt(patch_channels // metadata.in_channels),
        channels=metadata.in_channels,
    )


def _vawan_config(metadata: VawanMetadata, tensors: Mapping[str, Tensor], lora: LoraConfig) -> VawanConfig:
    new_channels = _size(tensors, "patch_embedding.weight", 1) - I2V_CHANNELS
    views = metadata.num_views or new_channels // LATENT_CHANNELS
    pose = metadata.pose
    if pose is None:
        forms = {AC3D: "stem.", TIME_POSE: "proj_"}
        found = (form for form, start in forms.items() if any(key.startswith(POSE_PREFIX + start) for key in tensors))
        pose = next(found, NO_POSE)
    if pose != NO_POSE and metadata.pose_reference != "exo1":
        raise ValueError(
            f"pose_reference is {metadata.pose_reference}, and this version reads exo1 with pose={pose}. {EXPORT_AGAIN}"
        )
    if pose != AC3D:
        if told := [name for name in ("pose_width", "pose_shared") if getattr(metadata, name) is not None]:
            raise ValueError(f"{told[0]} belongs to pose={AC3D}, and this is a file of pose={pose}: export it again.")
        return VawanConfig(views, lora, pose)
    n_blocks = _count_blocks(key for key in tensors if key.startswith(f"{POSE_PREFIX}blocks."))
    shared = n_blocks <= 1 < lora.blocks if metadata.pose_shared is None else metadata.pose_shared
    width = metadata.pose_width or _size(tensors, f"{POSE_PREFIX}stem.weight", 0)
    return VawanConfig(views, lora, pose, width, shared)


def _ff_mult(dim: int, inner: int) -> float:
    """Return a factor that gives the feed-forward layers' inner width, rounded down; the usual one if it can."""
    usual = AlignConfig.ff_mult
    return usual if AlignConfig(dim=dim, ff_mult=usual).ff_inner == inner else 1.5 * (inner + 0.5) / dim


def _shapes_of(module: nn.Module) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def _lora_config(config: ComponentConfig) -> LoraConfig:
    return config.lora if isinstance(config, VawanConfig) else config


def _count_blocks(keys: Iterable[str]) -> int:
    """Return how many blocks the keys name: not the highest number, which a wrong key may set to anything."""
    return len({match[1] for match in map(_BLOCK.search, keys) if match})


def _tensor(tensors: Mapping[str, Tensor], key: str, n_axes: int) -> Tensor:
    if key not in tensors:
        raise ValueError(
            f"it lacks the tensor {key}. The file is not whole, or holds another component. {EXPORT_AGAIN}"
        )
    if tensors[key].ndim < n_axes:
        raise ValueError(
            f"{key} has the shape {list(tensors[key].shape)}, expected at least {n_axes} axes. {EXPORT_AGAIN}"
        )
    return tensors[key]


def _size(tensors: Mapping[str, Tensor], key: str, axis: int) -> int:
    shape = _tensor(tensors, key, axis + 1).shape
    if not shape[axis]:
        raise ValueError(f"{key} is empty, its shape is {list(shape)}. The file is not whole: export it again.")
    return shape[axis]


def _number(tensors: Mapping[str, Tensor], key: str) -> float:
    tensor = _tensor(tensors, key, 0)
    if tensor.numel() != 1:
        raise ValueError(f"{key} has the shape {list(tensor.shape)}, expected a single number. {EXPORT_AGAIN}")
    return float(tensor)
