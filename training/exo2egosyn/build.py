"""The networks of Exo2EgoSyn's stages on Wan 2.2: what trains asks for gradients, everything else is frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...networks.components.build import build_align, build_exo_tokenizer, cross_attention_set
from ...networks.components.files import LoadedComponent, read_component
from ...networks.components.metadata import Component
from ...networks.exo2egosyn.exo_tokens import ExoTokenizer
from ...networks.exo2egosyn.pose_injection import PoseConfig, PoseInjection
from ...networks.exo2egosyn.self_attention_lora import LoraConfig
from ...networks.exo2egosyn.vawan import ExoChannels, VawanConfig, pose_network
from ...networks.weights.wan_names import from_diffusers
from ..network.lora import add_lora, read_lora_into
from ..noise import generator_of
from ..recipe import STAGE_1, STAGE_2, VAWAN, Recipe
from .network import ViewsToEgo
from .settings import PREDICTED

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel
    from torch import nn

CROSS_ATTENTION = ".attn2."


def new_network(transformer: WanTransformer3DModel, recipe: Recipe) -> ViewsToEgo:
    """Return a stage's network at the start of its training, without the files that it goes on from.

    Works on the meta device, too, where the transformer is there and this is called within `torch.device("meta")`.
    """
    method, syn = recipe.run.method, recipe.exo2egosyn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_of(recipe.run.seed, -4).initial_seed())
        parts = _parts(transformer, recipe)
    add_lora(transformer, recipe.lora, recipe.run.seed)
    network = ViewsToEgo(transformer, **parts, cond_tail=syn.cond_tail)
    if method == STAGE_1:
        for name, parameter in cross_attention(transformer).items():
            _train(parameter, name)
    elif method == STAGE_2:
        network.tokenizer.requires_grad_(requires_grad=False)
    else:
        for name, parameter in transformer.patch_embedding.named_parameters():
            _train(parameter, name)
    if recipe.run.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    return network


def read_parts_into(network: ViewsToEgo, recipe: Recipe) -> None:
    """Put the files that a stage goes on from into its network.

    Raises:
        ValueError: if one is missing, damaged, of another kind or of another size.
    """
    syn = recipe.exo2egosyn
    if syn.multiexocon is not None and recipe.run.method != VAWAN:
        _put_multiexocon(network, read_component(syn.multiexocon, Component.MULTIEXOCON), recipe)
    if recipe.lora.start is not None:
        read_lora_into(network.transformer, recipe.lora.start, recipe.lora)
    if syn.first_frame == PREDICTED:
        assert syn.align is not None
        network.align = build_align(read_component(syn.align, Component.ALIGN), dtype=torch.float32)
        network.align.requires_grad_(requires_grad=False)


def cross_attention(transformer: WanTransformer3DModel) -> dict[str, nn.Parameter]:
    """Return the cross-attention's parameters by MultiExoCon's names, such as `blocks.0.cross_attn.q.weight`."""
    named = transformer.named_parameters()
    return {from_diffusers(name): parameter for name, parameter in named if CROSS_ATTENTION in name}


def _parts(transformer: WanTransformer3DModel, recipe: Recipe) -> Mapping[str, nn.Module | None]:
    """Return what stands beside the transformer, in float32, as training begins."""
    syn, width, blocks = recipe.exo2egosyn, len(transformer.patch_embedding.weight), len(transformer.blocks)
    if recipe.run.method == VAWAN:
        config = vawan_config(recipe, width, blocks)
        return {"channels": ExoChannels(config), "vawan_pose": pose_network(config)}
    embedding = transformer.patch_embedding
    tokenizer = ExoTokenizer.from_base(
        embedding.weight.detach().float(), embedding.bias.detach().float(), syn.views, syn.exo_pos, blocks
    )
    if recipe.run.method == STAGE_1:
        return {"tokenizer": tokenizer}
    return {"tokenizer": tokenizer, "pose": PoseInjection(PoseConfig(width, syn.pose_dim, fuse=syn.fuse))}


def vawan_config(recipe: Recipe, width: int, blocks: int) -> VawanConfig:
    """Return the sizes of VAWAN's component."""
    lora = LoraConfig(width, blocks, recipe.lora.rank, recipe.lora.alpha)
    return recipe.vawan.config(recipe.exo2egosyn.views, lora)


@torch.no_grad()
def _put_multiexocon(network: ViewsToEgo, part: LoadedComponent, recipe: Recipe) -> None:
    own = cross_attention(network.transformer)
    width, config = len(network.transformer.patch_embedding.weight), part.config
    if (config.dim, config.blocks) != (width, len(network.transformer.blocks)):
        raise ValueError(
            f"{part.file} is for a base model of {config.blocks} blocks of width {config.dim}, and this one has "
            f"{len(network.transformer.blocks)} of {width}."
        )
    if recipe.exo2egosyn.views > config.views:
        raise ValueError(
            f"{part.file} takes up to {config.views} exo views, and [exo2egosyn] views is {recipe.exo2egosyn.views}."
        )
    for name, value in cross_attention_set(part).items():
        own[name].copy_(value)
    before = network.tokenizer
    network.tokenizer = build_exo_tokenizer(part, dtype=torch.float32)
    if recipe.run.method == STAGE_1 and config.exo_pos != before.config.exo_pos:
        raise ValueError(f"{part.file} has exo_pos {config.exo_pos}: set it under [exo2egosyn].")
    network.tokenizer.requires_grad_(requires_grad=recipe.run.method == STAGE_1)


def _train(parameter: Tensor, name: str) -> None:
    """Let a weight of the base model train, in float32: in bfloat16 small updates would be lost."""
    assert isinstance(parameter, torch.nn.Parameter), name
    parameter.data = parameter.data.float()
    parameter.requires_grad_(requires_grad=True)
