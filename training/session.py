"""A training from its recipe: the network, the run with its curves and samples, and the file that comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from .data.cache import ClipCache
from .data.sources import clips_of
from .memory.block_swap import swap_blocks
from .methods import method_of
from .monitor import Monitor
from .network.lora import COMFYUI
from .recipe import Recipe
from .state import Checkpoint, newest_checkpoint
from .trainer import CHECKPOINTS, StepReport, Trainer
from .views import SampleFiles

SAMPLES = "samples"


def build_network(recipe: Recipe) -> nn.Module:
    """Return the network that a recipe trains; what is trained asks for gradients."""
    network = method_of(recipe).network()
    if recipe.memory.swap_blocks:
        swap_blocks(network.transformer.blocks, recipe.memory.swap_blocks)
    return network


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
    return Trainer(method, build_network(recipe), cache, Accelerator(mixed_precision=mixed, cpu=on_cpu))


def train(trainer: Trainer, show: Callable[[str], None] = print) -> str:
    """Run a training to its end or until it is asked to stop, with curves and samples; returns why it ended.

    Args:
        trainer: of `open_trainer`.
        show: called with lines for people, by the main process.
    """
    recipe = trainer.recipe
    settings = recipe.checkpoints
    main = trainer.accelerator.is_main_process
    monitor = Monitor(recipe.run.out, trainer.step) if main else None
    files = SampleFiles(recipe, trainer.accelerator.device) if main and settings.sample_every else None

    def after_step(report: StepReport) -> None:
        step, last, held_out = report.step, report.step == recipe.run.steps, None
        if monitor is not None:
            monitor.loss(report.loss)
        if (step % settings.log_every == 0 or last) and monitor is not None:
            values = {"loss": report.loss, "gradient": report.gradient, "lr": report.rate}
            monitor.curves(step, values, report.gradients)
            show(f"step {step}/{recipe.run.steps}: loss {report.loss:.5f}, gradients {report.gradient:.3g}")
        if settings.held_out_every and (step % settings.held_out_every == 0 or last):
            held_out = trainer.held_out_loss()
            if held_out is not None and monitor is not None:
                show(f"step {step}: loss of the clips held out {held_out:.5f}")
        if settings.sample_every and step % settings.sample_every == 0:
            folder = recipe.run.out / SAMPLES / f"step-{step:08d}"
            with trainer.best() as network:
                if monitor is not None and files is not None:
                    sheets = write_samples(recipe, network, trainer.cache, folder, files)[1]
                    monitor.images(step, sheets)
        if monitor is not None and (held_out is not None or step % settings.every == 0 or last):
            monitor.health(step, trainer.health(), held_out)

    try:
        return trainer.run(after_step)
    finally:
        if monitor is not None:
            monitor.close()
        trainer.accelerator.end_training()  # or a process may end while another one still speaks with it


def write_samples(
    recipe: Recipe, network: nn.Module, cache: ClipCache, folder: Path, files: SampleFiles
) -> tuple[list[Path], dict[str, Tensor]]:
    """Sample the clips held out; returns what was written of them, and their contact sheets by name."""
    paths, sheets = [], {}
    method = method_of(recipe)
    for name in cache.held_out:
        clips = method.batch([cache.read(name)], files.device)
        written, sheet = files.write(folder, name, method.sample(network, clips, cache))
        paths += written
        if sheet is not None:
            sheets[name] = sheet
    return paths, sheets


def checkpoint_of(recipe: Recipe) -> Checkpoint:
    """Return a run's newest checkpoint that is whole.

    Raises:
        ValueError: if there is none.
    """
    checkpoint = newest_checkpoint(recipe.run.out / CHECKPOINTS)
    if checkpoint is None:
        raise ValueError(f"There is no checkpoint in {recipe.run.out / CHECKPOINTS}: run `training train` first.")
    return checkpoint


@torch.no_grad()
def put_best(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Put what a checkpoint would export into a network of its recipe."""
    parameters = dict(network.named_parameters())
    for name, value in checkpoint.best.items():
        parameters[name].copy_(value)


def export(recipe: Recipe, checkpoint: Checkpoint, path: Path, names: str = COMFYUI) -> str:
    """Write what a checkpoint has trained, each file whole or not at all; returns what was written.

    Args:
        recipe: of the run.
        checkpoint: what is written.
        path: NAME.safetensors.
        names: of a LoRA's tensors: COMFYUI's or, for EgoX, DIFFUSERS'.
    """
    method = method_of(recipe)
    if names not in method.names:
        raise ValueError(
            f"What {recipe.run.method} trains as {method.trained()} has no form for {names}: leave --format out."
        )
    return method.export(checkpoint, path, names)
