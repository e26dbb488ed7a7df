"""A training from its recipe: the network, the run with its curves and samples, and the file that comes out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..common.whole_file import whole_file
from ..networks.weights.egox_lora import EgoXLoraHeader
from ..networks.weights.lora_keys import split_key
from ..networks.weights.safetensors_file import write_safetensors
from ..networks.weights.wan_names import from_diffusers
from .data.cache import ClipCache
from .data.clips import ClipBatch
from .data.sources import clips_of
from .memory.block_swap import swap_blocks
from .network.egox import EgoX
from .network.lora import add_lora, read_lora_into, write_lora
from .network.sampling import sample
from .network.transformer import load_transformer, new_transformer
from .recipe import ALL, LORA, Recipe
from .state import Checkpoint, checkpoint_files, read_checkpoint
from .trainer import CHECKPOINTS, StepReport, Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD, SAMPLES = "tensorboard", "samples"
_TRANSFORMER = "transformer."

_log = logging.getLogger(__name__)


def build_network(recipe: Recipe) -> EgoX:
    """Return the network that a recipe trains; what is trained asks for gradients."""
    model, memory = recipe.model, recipe.memory
    dtype = memory.dtype(recipe.run.precision) if model.trained == LORA else torch.float32
    transformer = (
        new_transformer(recipe.new, recipe.run.seed)
        if model.base is None
        else load_transformer(model.base, dtype, memory.base)
    )
    if model.trained == LORA:
        add_lora(transformer, recipe.lora, recipe.run.seed)
        if recipe.lora.start is not None:
            read_lora_into(transformer, recipe.lora.start, recipe.lora)
    if recipe.run.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    swap_blocks(transformer.blocks, memory.swap_blocks)
    return EgoX(transformer, recipe.egox.guidance(), masks_last_frame=recipe.egox.masks_last_frame)


def open_trainer(recipe: Recipe, folder: Path, *, on_cpu: bool = False) -> Trainer:
    """Return a run at its newest checkpoint, or at its beginning; processes are those of `accelerate launch`.

    Args:
        recipe: all settings.
        folder: from which relative paths of takes are taken.
        on_cpu: leave a GPU alone.

    Raises:
        ValueError: if base model or clips are missing or do not fit, or the folder holds another training.
    """
    from accelerate import Accelerator

    cache = clips_of(recipe, folder)
    mixed = "bf16" if recipe.run.precision == "bf16" else "no"
    return Trainer(recipe, build_network(recipe), cache, Accelerator(mixed_precision=mixed, cpu=on_cpu))


def train(trainer: Trainer, show: Callable[[str], None] = print) -> str:
    """Run a training to its end or until it is asked to stop, with curves and samples; returns why it ended.

    Args:
        trainer: of `open_trainer`.
        show: called with lines for people, by the main process.
    """
    recipe = trainer.recipe
    settings = recipe.checkpoints
    writer = _writer(recipe, trainer)

    def after_step(report: StepReport) -> None:
        last = report.step == recipe.run.steps
        if report.step % settings.log_every == 0 or last:
            _curve(writer, report.step, {"loss": report.loss, "gradient": report.gradient, "lr": report.rate})
            if trainer.accelerator.is_main_process:
                show(f"step {report.step}/{recipe.run.steps}: loss {report.loss:.5f}, gradients {report.gradient:.3g}")
        if settings.held_out_every and (report.step % settings.held_out_every == 0 or last):
            held_out = trainer.held_out_loss()
            if held_out is not None:
                _curve(writer, report.step, {"held out": held_out})
                if trainer.accelerator.is_main_process:
                    show(f"step {report.step}: loss of the clips held out {held_out:.5f}")
        if settings.sample_every and report.step % settings.sample_every == 0:
            folder = recipe.run.out / SAMPLES / f"step-{report.step:08d}"
            with trainer.best() as network:
                if trainer.accelerator.is_main_process:
                    write_samples(recipe, network, trainer.cache, folder, trainer.accelerator.device)

    try:
        return trainer.run(after_step)
    finally:
        if writer is not None:
            writer.close()


def write_samples(recipe: Recipe, network: EgoX, cache: ClipCache, folder: Path, device: torch.device) -> list[Path]:
    """Sample the clips held out and write each with its truth as latents of the model's scale; returns the files."""
    files = []
    negative = cache.negative()
    for name in recipe.data.held_out:
        clips = ClipBatch.of([cache.read(name)], device)
        latent = sample(network, clips, negative, recipe.samples)
        path = folder / f"{name.replace('/', '_')}.safetensors"
        with whole_file(path) as unfinished:
            write_safetensors(
                unfinished, {"ego": latent.cpu(), "truth": clips.ego.cpu(), "prior": clips.prior.cpu()}, {}
            )
        files.append(path)
    return files


def newest_checkpoint(recipe: Recipe) -> Checkpoint:
    """Return a run's newest checkpoint.

    Raises:
        ValueError: if there is none.
    """
    files = checkpoint_files(recipe.run.out / CHECKPOINTS)
    if not files:
        raise ValueError(f"There is no checkpoint in {recipe.run.out / CHECKPOINTS}: run `training train` first.")
    return read_checkpoint(files[-1])


@torch.no_grad()
def put_best(network: EgoX, checkpoint: Checkpoint) -> None:
    """Put what a checkpoint would export into a network of its recipe."""
    parameters = dict(network.named_parameters())
    for name, value in checkpoint.best.items():
        parameters[name].copy_(value)


def export(recipe: Recipe, checkpoint: Checkpoint, path: Path) -> str:
    """Write what a checkpoint has trained, under ComfyUI's names, whole or not at all; returns what was written."""
    if recipe.model.trained == ALL:
        tensors = _whole_model(checkpoint.best)
        strings = {key: value for key, value in header_of(recipe, checkpoint.step).to_strings().items() if value}
        with whole_file(path) as unfinished:
            write_safetensors(unfinished, tensors, {**strings, "format": "pt"})
        return f"{path}: a whole Wan 2.1 I2V transformer of {len(tensors)} tensors, after step {checkpoint.step}"
    factors = {}
    for name, value in checkpoint.best.items():
        if (split := split_key(name)) is None:
            raise ValueError(f"{checkpoint.path} holds {name}, which is not of a LoRA: was it trained as a whole?")
        factors[split] = value
    write_lora(path, factors, recipe.lora.alpha, header_of(recipe, checkpoint.step))
    return f"{path}: a LoRA of rank {recipe.lora.rank} on {len(factors) // 2} layers, after step {checkpoint.step}"


def header_of(recipe: Recipe, step: int) -> EgoXLoraHeader:
    """Return what the header of a recipe's file says."""
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


def _writer(recipe: Recipe, trainer: Trainer) -> SummaryWriter | None:
    if not trainer.accelerator.is_main_process:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        _log.info("TensorBoard is not installed: there will be no curves.")
        return None
    # Curves of steps that are done again, after the checkpoint that is resumed, take the place of the old ones.
    return SummaryWriter(str(recipe.run.out / TENSORBOARD), purge_step=trainer.step + 1)


def _curve(writer: SummaryWriter | None, step: int, values: dict[str, float]) -> None:
    if writer is not None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
