"""EgoX as a method of the trainer: a LoRA, or a whole transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...common.whole_file import whole_file
from ...networks.weights.egox_lora import EgoXLoraHeader
from ...networks.weights.lora_keys import split_key
from ...networks.weights.safetensors_file import write_safetensors
from ...networks.weights.wan_kinds import WAN21_I2V
from ...networks.weights.wan_names import from_diffusers
from ..data.cache import ClipCache
from ..data.clips import ClipBatch, TrainingClip
from ..method import Method
from ..noise import Draws
from ..recipe import ALL, LORA
from ..state import Checkpoint
from .egox import EgoX, noised, velocity_losses
from .lora import COMFYUI, NAMES, add_lora, read_lora_into, write_lora
from .sampling import sample
from .transformer import WanSize, empty_transformer, load_transformer, new_transformer

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

_TRANSFORMER = "transformer."


class EgoXMethod(Method):
    """EgoX: the velocity of the ego view beside the clean exo view."""

    lasting = ("egox.match", "egox.gga")
    base_kind = WAN21_I2V

    def network(self) -> EgoX:
        """Return the transformer with what EgoX shows it."""
        recipe = self.recipe
        model = recipe.model
        memory = recipe.memory
        dtype = memory.dtype(recipe.run.precision) if model.trained == LORA else torch.float32
        transformer = (
            new_transformer(recipe.new, recipe.run.seed)
            if model.base is None
            else load_transformer(model.base, dtype, stored=memory.base)
        )
        network = self._dressed(transformer)
        if model.trained == LORA and recipe.lora.start is not None:
            read_lora_into(transformer, recipe.lora.start, recipe.lora)
        return network

    def empty_network(self, size: WanSize | None) -> EgoX:
        """Return the network without weights."""
        assert size is not None
        transformer = empty_transformer(size)
        with torch.device("meta"):
            return self._dressed(transformer)

    def _dressed(self, transformer: WanTransformer3DModel) -> EgoX:
        recipe = self.recipe
        if recipe.model.trained == LORA:
            add_lora(transformer, recipe.lora, recipe.run.seed)
        if recipe.run.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        return EgoX(transformer, recipe.egox.guidance(), masks_last_frame=recipe.egox.masks_last_frame)

    def batch(self, clips: Sequence[TrainingClip], device: torch.device | str) -> ClipBatch:
        """Join clips."""
        return ClipBatch.of(clips, device)

    def losses(self, network: nn.Module, clips: ClipBatch, draws: Draws) -> Tensor:
        """Return each clip's mean squared error of the velocity [B], by its cells' weights."""
        velocity = network(clips, noised(clips.ego, draws.noise, draws.levels), draws.levels)
        return velocity_losses(velocity, clips.ego, draws.noise, clips.weights)

    def sample(self, network: nn.Module, clips: ClipBatch, cache: ClipCache) -> dict[str, Tensor]:
        """Sample the ego view; beside it are truth, prior and exo view."""
        latent = sample(network, clips, cache.negative(), self.recipe.samples)
        return {"ego": latent, "truth": clips.ego, "prior": clips.prior, "exo": clips.exo}

    @property
    def names(self) -> tuple[str, ...]:
        """ComfyUI's and diffusers' for a LoRA; a whole model's are ComfyUI's, which diffusers' single files are too."""
        return (COMFYUI,) if self.recipe.model.trained == ALL else NAMES

    def export(self, checkpoint: Checkpoint, path: Path, names: str = COMFYUI) -> str:
        """Write the LoRA, or the whole transformer."""
        recipe, header = self.recipe, self.header(checkpoint.step)
        if recipe.model.trained == ALL:
            tensors = _whole_model(checkpoint.best)
            strings = {key: value for key, value in header.to_strings().items() if value}
            with whole_file(path) as unfinished:
                write_safetensors(unfinished, tensors, {**strings, "format": "pt"})
            return f"{path}: a whole Wan 2.1 I2V transformer of {len(tensors)} tensors, after step {checkpoint.step}"
        factors = {}
        for name, value in checkpoint.best.items():
            if (split := split_key(name)) is None:
                raise ValueError(f"{checkpoint.path} holds {name}, which is not of a LoRA: was it trained as a whole?")
            factors[split] = value
        write_lora(path, factors, recipe.lora, header, names=names)
        named = f" in {names}' names" if names != COMFYUI else ""
        layers = f"{len(factors) // 2} layers{named}"
        return f"{path}: a LoRA of rank {recipe.lora.rank} on {layers}, after step {checkpoint.step}"

    def trained(self) -> str:
        """Return what is trained."""
        return f"LoRA of rank {self.recipe.lora.rank}" if self.recipe.model.trained == LORA else "all weights"

    def describe(self) -> list[str]:
        """Return match and GGA."""
        guidance = self.recipe.egox.guidance()
        guided = "off"
        if guidance is not None:
            form = f"{guidance.bias.form.value}, lambda {guidance.bias.strength:g}"
            guided = f"{form}, directions {self.recipe.egox.resolved_geometry.value}"
        return [f"{self.recipe.egox.match}; GGA: {guided}"]

    def header(self, step: int) -> EgoXLoraHeader:
        """Return what the file's header says."""
        recipe = self.recipe
        egox, data, base = recipe.egox, recipe.data, recipe.model.base
        is_guided = egox.guidance() is not None
        return EgoXLoraHeader(
            base_model=recipe.release.base_model or ("none" if base is None else base.stem),
            match=egox.match,
            gga=egox.gga,
            gga_strength=f"{egox.resolved_strength:g}" if is_guided else "",
            gga_geometry=egox.resolved_geometry.value if is_guided else "",
            exo_size="x".join(map(str, data.exo_size)),
            ego_size="x".join(map(str, data.ego_size)),
            num_frames=str(data.frames),
            step=str(step),
            license=recipe.release.license,
            trained_by=recipe.release.trained_by,
        )


def _whole_model(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {from_diffusers(name.removeprefix(_TRANSFORMER)): value for name, value in parameters.items()}
    for name, value in named.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite: take an earlier checkpoint.")
    return {name: value.to(torch.float16) for name, value in named.items()}
