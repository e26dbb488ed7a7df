"""EgoX's LoRA: read it with every key accounted for, and put it on a MODEL.

The released file carries diffusers' names, of which ComfyUI's own LoRA loaders map none: they would log "lora key not
loaded" and change nothing. It goes on the MODEL in one of two ways: as a patch that ComfyUI merges into the weights, or
beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.lora
import torch
from torch import Tensor

from ...networks.weights.egox_lora import EgoXLoraHeader
from ...networks.weights.finite import check_finite, check_strength
from ...networks.weights.lora_keys import PATCH_EMBEDDING, blocks_of
from ...networks.weights.lora_layers import (
    WHAT_FILE,
    factors_by_layer,
    misfit,
    read_factor,
    saved_alpha,
    update_size,
)
from ...networks.weights.safetensors_file import read_safetensors
from ...networks.weights.wan_kinds import WHAT_TO_LOAD_21
from ..shared.base_model import require_wan21_i2v
from ..shared.lora_beside import add_beside
from ..shared.stored_weights import quantised_as
from .trained import add_trained

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class LoraForm(str, Enum):
    """How a LoRA goes on a MODEL.

    MERGE is ComfyUI's own way: the update is added to the weights, which are then rounded to the type that they are
    stored in. BESIDE adds it to the layers' outputs and leaves the weights alone. AUTO takes BESIDE where the weights
    are quantised.
    """

    AUTO = "auto"
    MERGE = "merge"
    BESIDE = "beside the weights"

    @classmethod
    def _missing_(cls, value: object) -> LoraForm:
        words = ", ".join(f'"{form.value}"' for form in cls)
        raise ValueError(f"A LoRA is applied in one of the ways {words}; got {value!r}. Choose one of them.")


@dataclass(frozen=True, eq=False)
class LowRankUpdate:
    """The update of one layer: `up @ down`, times alpha / rank where an alpha was saved.

    Attributes:
        down: [rank, inputs]; of the patch embedding [rank, channels, 1, 2, 2].
        up: [outputs, rank]; of the patch embedding [outputs, rank, 1, 1, 1].
        alpha: or None for a scale of 1.
    """

    down: Tensor
    up: Tensor
    alpha: float | None

    @property
    def rank(self) -> int:
        """Inner width."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Factor on `up @ down`."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, eq=False)
class WanLora:
    """A LoRA on Wan's transformer blocks.

    Attributes:
        file: name of the file.
        layers: updates by ComfyUI's layer name, e.g. `blocks.0.self_attn.q`. Every block has the same layers;
            `patch_embedding` may come on top.
        header: how it was trained, where it is of this pack's trainer.
    """

    file: str
    layers: dict[str, LowRankUpdate]
    header: EgoXLoraHeader | None = None

    @property
    def n_blocks(self) -> int:
        """Number of transformer blocks."""
        return 1 + max(blocks_of(self.layers))

    def describe(self) -> str:
        """Return rank, coverage, scale and how it was trained in a line."""
        ranks = sorted({update.rank for update in self.layers.values()})
        alphas = sorted({update.alpha for update in self.layers.values() if update.alpha is not None})
        rank = "-".join(str(value) for value in {ranks[0]: None, ranks[-1]: None})
        scale = "no alpha stored (scale 1)" if not alphas else f"alpha {', '.join(f'{value:g}' for value in alphas)}"
        trained = "" if self.header is None else f"; trained with {self.header.describe()}"
        patch = " and the patch embedding" if PATCH_EMBEDDING in self.layers else ""
        layers = f"{len(self.layers) - bool(patch)} layers in {self.n_blocks} blocks{patch}"
        return f"rank {rank}, {layers}, {scale}{trained}"


def read_lora(path: str | Path) -> WanLora:
    """Read a LoRA for Wan 2.1 in diffusers', peft's, DiffSynth's, kohya's (musubi) or ComfyUI's key names.

    Without a saved alpha the scale is 1, as for the release (rank 256, alpha 256). Factors that were saved in float32
    are read as bfloat16, as the base model computes: half the memory.

    Raises:
        ValueError: for a pickled or truncated file, keys of another model, keys of which only some map to layers, and
            factors that are missing, do not fit together, or hold NaN, infinity or integers; it names the file.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path, WHAT_FILE)
    factors = factors_by_layer(path.name, tensors)
    alpha = saved_alpha(path.name, metadata)
    try:
        check_finite(tensors)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    layers = {
        layer: LowRankUpdate(
            read_factor(found["down"]),
            read_factor(found["up"]),
            float(found["alpha"]) if "alpha" in found else alpha,
        )
        for layer, found in factors.items()
    }
    return WanLora(path.name, layers, EgoXLoraHeader.of(metadata))


@dataclass(frozen=True)
class Placement:
    """Where a LoRA goes on a MODEL.

    Attributes:
        form: MERGE or BESIDE.
        quantised: how the base's weights are quantised, None where they are not.
    """

    form: LoraForm
    quantised: str | None

    def describe(self) -> str:
        """Return the form and why, in a few words."""
        stored = "a base model that is not quantised" if self.quantised is None else f"a base model in {self.quantised}"
        what = "merged into the weights" if self.form is LoraForm.MERGE else "beside the weights"
        return f"{what} ({stored})"


def placement(model: ModelPatcher, lora: WanLora, form: LoraForm = LoraForm.AUTO) -> Placement:
    """Return where a LoRA goes on a Wan 2.1 I2V MODEL.

    Raises:
        ValueError: for another model, or a LoRA of another size.
    """
    network = require_wan21_i2v(model)
    _check_fits(lora, network)
    found = [quantised_as(network.get_submodule(layer)) for layer in lora.layers]
    quantised = next((word for word in found if word is not None), None)
    if form is LoraForm.AUTO:
        form = LoraForm.MERGE if quantised is None else LoraForm.BESIDE
    return Placement(form, quantised)


def apply_lora(
    model: ModelPatcher,
    lora: WanLora,
    strength: float = 1.0,
    form: LoraForm = LoraForm.AUTO,
    report: Callable[[str], None] | None = None,
) -> ModelPatcher:
    """Return a clone of a Wan 2.1 I2V MODEL with a LoRA, merged or beside the weights.

    Args:
        model: MODEL.
        lora: what goes on it.
        strength: factor on its updates; 0 leaves the model as it is.
        form: which way.
        report: called when sampling starts, where it is otherwise than the LoRA was trained; see `trained`.

    Raises:
        ValueError: for another model, a LoRA of another size, or a strength that is NaN or infinity.
    """
    check_strength(strength)
    place = placement(model, lora, form)
    patched = model.clone()
    if lora.header is not None and strength:
        add_trained(patched, lora.file, lora.header, report)
    if place.form is LoraForm.BESIDE:
        if strength:
            scaled = {name: (one.down, one.up, strength * one.scale) for name, one in lora.layers.items()}
            add_beside(patched, scaled)
        return patched
    tensors: dict[str, Any] = {}
    for layer, update in lora.layers.items():
        tensors[f"diffusion_model.{layer}.lora_up.weight"] = update.up
        tensors[f"diffusion_model.{layer}.lora_down.weight"] = update.down
        if update.alpha is not None:
            tensors[f"diffusion_model.{layer}.alpha"] = torch.tensor(update.alpha)
    patches = comfy.lora.load_lora(tensors, comfy.lora.model_lora_keys_unet(model.model, {}))
    patched_keys = patched.add_patches(patches, strength)
    if len(patched_keys) != len(lora.layers):
        raise ValueError(
            f"{lora.file}: ComfyUI took {len(patched_keys)} of its {len(lora.layers)} layers. {WHAT_TO_LOAD_21}"
        )
    return patched


def _check_fits(lora: WanLora, network: Any) -> None:
    updates = {layer: update_size(one.down, one.up) for layer, one in lora.layers.items()}

    def weight_shape(layer: str) -> tuple[int, ...]:
        module = network.get_submodule(layer)
        if layer == PATCH_EMBEDDING:
            return module.out_channels, module.in_channels, *module.kernel_size
        return module.out_features, module.in_features

    if found := misfit(lora.file, updates, "this model", len(network.blocks), weight_shape):
        raise ValueError(f"{found}. {WHAT_TO_LOAD_21}")
