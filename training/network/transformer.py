"""Wan 2.1 or 2.2 I2V as the trainer runs it: diffusers' WanTransformer3DModel, from ComfyUI's file or from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...common.wan_grid import HEAD_CHANNELS, I2V_CHANNELS, LATENT_CHANNELS, WAN_BLOCKS, WAN_DIM, WAN_PATCH
from ...networks.components.files import files_of
from ...networks.weights.safetensors_file import read_safetensors
from ...networks.weights.wan_kinds import WAN21_I2V, WAN22_I2V, wan_kind, wan_prefix
from ...networks.weights.wan_names import from_diffusers
from ..memory.quantised import FLOAT8, is_quantised, quantise
from ..memory.scaled_files import keep_stored, split_scaled, whole
from ..memory.settings import AS_PRECISION, FP8

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

# By the kind of model: which file belongs here.
_WHAT_FILES = {
    WAN21_I2V: (
        "The base model is Wan 2.1 I2V in bf16, fp16 or fp32, under ComfyUI's names: "
        "wan2.1_i2v_480p_14B_bf16.safetensors, or a fine-tune of it."
    ),
    WAN22_I2V: (
        "The base model is the low-noise expert of Wan 2.2 I2V A14B in bf16, fp16 or fp32, under ComfyUI's names: "
        "wan2.2_i2v_low_noise_14B_fp16.safetensors."
    ),
}
_TRAINABLE_TYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class WanSize:
    """Sizes of a Wan I2V transformer; the defaults are those of Wan 2.1's 14B model.

    Attributes:
        width: of a token, a multiple of 128, the channels of a head.
        ffn: width within the feed-forward layers.
        blocks: number of blocks.
        text: width of the text's vectors.
        image: width of CLIP's features; 0 for Wan 2.2, which takes none.
        frequencies: width of the noise level's embedding.
    """

    width: int = WAN_DIM
    ffn: int = 13824
    blocks: int = WAN_BLOCKS
    text: int = 4096
    image: int = 1280
    frequencies: int = 256

    def __post_init__(self) -> None:
        if self.width < HEAD_CHANNELS or self.width % HEAD_CHANNELS:
            raise ValueError(
                f"The width of a Wan transformer is a multiple of {HEAD_CHANNELS}, the channels of a head; got "
                f"{self.width}."
            )
        if min(self.ffn, self.blocks, self.text, self.frequencies) < 1 or self.image < 0:
            raise ValueError(f"Every size of a transformer is at least 1 (image: 0 for none), got {self}.")

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], file: str, what_file: str) -> WanSize:
        """Return the sizes of a transformer by its tensors, in ComfyUI's names without a prefix.

        Raises:
            ValueError: if one of those that tell them is missing; it names the file.
        """
        try:
            return cls(
                width=tensors["patch_embedding.weight"].shape[0],
                ffn=tensors["blocks.0.ffn.0.weight"].shape[0],
                blocks=1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")),
                text=tensors["text_embedding.0.weight"].shape[1],
                image=tensors["img_emb.proj.0.weight"].shape[0] if "img_emb.proj.0.weight" in tensors else 0,
                frequencies=tensors["time_embedding.0.weight"].shape[1],
            )
        except KeyError as error:
            raise ValueError(f"{file} is not whole: {error.args[0]} is missing. {what_file}") from error


def empty_transformer(size: WanSize) -> WanTransformer3DModel:
    """Return a transformer on the meta device: sizes and names without weights.

    Its rotary table is real, for that is computed and in no file.
    """
    from diffusers import WanTransformer3DModel
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

    with torch.device("meta"):
        network = WanTransformer3DModel(
            patch_size=WAN_PATCH,
            num_attention_heads=size.width // HEAD_CHANNELS,
            attention_head_dim=HEAD_CHANNELS,
            in_channels=I2V_CHANNELS,
            out_channels=LATENT_CHANNELS,
            text_dim=size.text,
            freq_dim=size.frequencies,
            ffn_dim=size.ffn,
            num_layers=size.blocks,
            image_dim=size.image or None,
            added_kv_proj_dim=size.width if size.image else None,
        )
    network.rope = WanRotaryPosEmbed(HEAD_CHANNELS, WAN_PATCH, network.config.rope_max_seq_len)
    network.condition_embedder.timesteps_proj = LevelWaves(size.frequencies)
    return network


class LevelWaves(nn.Module):
    """The waves of a timestep, as ComfyUI computes them; diffusers' own differ by 1e-4 at timestep 1000.

    Args:
        width: of the embedding, cosines before sines.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self._half = width // 2

    def forward(self, timestep: Tensor) -> Tensor:
        """Return [B, width] in float32 for timesteps [B]."""
        timestep = timestep.float()
        place = torch.arange(self._half).to(timestep)
        angle = torch.outer(timestep, torch.pow(10000, -place / self._half))
        return torch.cat([angle.cos(), angle.sin()], dim=1)


def new_transformer(size: WanSize, seed: int) -> WanTransformer3DModel:
    """Return an untrained transformer in float32; equal seeds give equal weights."""
    network = empty_transformer(size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.to_empty(device="cpu")
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        for name, parameter in network.named_parameters():
            if name.endswith("scale_shift_table"):
                torch.nn.init.normal_(parameter, std=size.width**-0.5)
    return _with_rotary_table(network)


def load_transformer(
    path: str | Path,
    dtype: torch.dtype | None = None,
    kind: str = WAN21_I2V,
    stored: str = AS_PRECISION,
    spared: str = "",
) -> WanTransformer3DModel:
    """Load a base model.

    Args:
        path: a safetensors file, or any shard or the index of one in shards.
        dtype: the type of its weights; None leaves each as it is stored.
        kind: `WAN21_I2V` or `WAN22_I2V`.
        stored: how the blocks' linear layers are kept, a `base` of `MemorySettings`. With fp8 the file may be one in
            float8, whose weights stay as they are.
        spared: layers with this in their name stay whole.

    Raises:
        ValueError: for a file that is missing, damaged, of another model, or in another quantised form.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    for file in files_of(path):
        tensors.update(read_safetensors(file, _WHAT_FILES[kind])[0])
    return transformer_of(tensors, path.name, dtype, kind, stored, spared)


def transformer_of(
    tensors: Mapping[str, Tensor],
    file: str,
    dtype: torch.dtype | None = None,
    kind: str = WAN21_I2V,
    stored: str = AS_PRECISION,
    spared: str = "",
) -> WanTransformer3DModel:
    """Return a transformer with the given weights, in ComfyUI's names; `file` names them in errors."""
    what_file = _WHAT_FILES[kind]
    if (found := wan_kind(tensors)) != kind:
        raise ValueError(f"{file} is {found or 'not a Wan transformer'}. {what_file}")
    prefix = wan_prefix(tensors) or ""
    plain = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    scales: dict[str, Tensor] = {}
    if stored == FP8:
        plain, scales = split_scaled(plain)
    for name, tensor in plain.items():
        if tensor.dtype not in _TRAINABLE_TYPES and name not in scales:
            remedy = ' Set [memory] base = "fp8" to train on it as it is.' if tensor.dtype == FLOAT8 else ""
            raise ValueError(
                f"{file} is quantised ({name} is {str(tensor.dtype).removeprefix('torch.')}), and training starts from "
                f"whole weights.{remedy} {what_file}"
            )
    network = network_for(plain, file, kind)
    exact = tuple(network._keep_in_fp32_modules)  # norms and noise levels, which diffusers computes in float32
    weights, kept = {}, {}
    for mine, theirs in ((name, from_diffusers(name)) for name in network.state_dict()):
        weights[mine], scale = plain[theirs], scales.get(theirs)
        own = torch.float32 if set(exact) & set(mine.split(".")) else dtype
        if scale is None:
            weights[mine] = plain[theirs].to(own)
        elif is_quantised(mine.removesuffix(".weight"), spared) and mine.endswith(".weight"):
            kept[mine.removesuffix(".weight")] = scale
        else:
            weights[mine] = whole(plain[theirs], scale, own or torch.bfloat16)
    network.load_state_dict(weights, assign=True)
    for layer, scale in kept.items():
        keep_stored(network, layer, scale, dtype or torch.bfloat16)
    quantise(network, stored, spared)
    return network


def network_for(plain: Mapping[str, Tensor], file: str, kind: str = WAN21_I2V) -> WanTransformer3DModel:
    """Return a transformer without weights that all the tensors of a base model, and no others, belong to.

    Raises:
        ValueError: if some are missing, or there are more; it names the file.
    """
    what_file = _WHAT_FILES[kind]
    network = empty_transformer(WanSize.of_tensors(plain, file, what_file))
    wanted = {name: from_diffusers(name) for name in network.state_dict()}
    if missing := sorted(set(wanted.values()) - set(plain)):
        raise ValueError(f"{file} is not whole: {len(missing)} tensors are missing, such as {missing[0]}. {what_file}")
    if more := sorted(set(plain) - set(wanted.values())):
        raise ValueError(f"{file} has {len(more)} tensors that this model does not, such as {more[0]}. {what_file}")
    return network


def _with_rotary_table(network: WanTransformer3DModel) -> WanTransformer3DModel:
    """Make the rotary table again, which `to_empty` lost."""
    from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed

    network.rope = WanRotaryPosEmbed(HEAD_CHANNELS, WAN_PATCH, network.config.rope_max_seq_len)
    return network
