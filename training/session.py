"""A training from its recipe: the network, the run with its curves and samples, and the file that comes out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..common.whole_file import whole_file
from ..networks.weights.safetensors_file import write_safetensors
from .data.cache import ClipCache
from .data.sources import clips_of
from .methods import method_of
from .recipe import Recipe
from .state import Checkpoint, checkpoint_files, read_checkpoint
from .trainer import CHECKPOINTS, StepReport, Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD, SAMPLES = "tensorboard", "samples"

_log = logging.getLogger(__name__)


def build_network(recipe: Recipe) -> nn.Module:
    """Return the network that a recipe trains; what is trained asks for gradients."""
    return method_of(recipe).network()


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
    method = method_of(recipe)
    method.check_clips(cache)  # before the network is built, which takes longer
    return Trainer(method, method.network(), cache, Accelerator(mixed_precision=mixed, cpu=on_cpu))


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


def write_samples(
    recipe: Recipe, network: nn.Module, cache: ClipCache, folder: Path, device: torch.device
) -> list[Path]:
    """Sample the clips held out and write each with its truth as latents of the model's scale; returns the files."""
    files = []
    method = method_of(recipe)
    for name in cache.held_out:
        clips = method.batch([cache.read(name)], device)
        latents = {key: latent.cpu() for key, latent in method.sample(network, clips, cache).items()}
        path = folder / f"{name.replace('/', '_')}.safetensors"
        with whole_file(path) as unfinished:
            write_safetensors(unfinished, latents, {})
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
def put_best(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Put what a checkpoint would export into a network of its recipe."""
    parameters = dict(network.named_parameters())
    for name, value in checkpoint.best.items():
        parameters[name].copy_(value)


def export(recipe: Recipe, checkpoint: Checkpoint, path: Path) -> str:
    """Write what a checkpoint has trained, each file whole or not at all; returns what was written."""
    return method_of(recipe).export(checkpoint, path)


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
