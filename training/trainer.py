"""The training loop, on accelerate.

A step is a batch of clips at noise levels of their own. What a step sees follows from its number alone (`noise`,
`order`): a run that is stopped at any moment goes on from its newest checkpoint to the weights of an undisturbed run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .data.cache import ClipCache
from .data.order import ClipOrder, NarrowedOrder
from .memory.optimizers import optimizer_of
from .memory.sharding import gathered, spread
from .method import Method
from .network.health import LoraHealth, gradient_norms, lora_health
from .noise import Draws, draw, generator_of
from .recipe import OptimizerSettings, Recipe
from .state import (
    Checkpoint,
    checkpoint_files,
    checkpoint_tensors,
    newest_checkpoint,
    remove_unfinished,
    restore,
    write_checkpoint,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

STOP_FILE = "stop"
CHECKPOINTS = "checkpoints"

# Settings that a run must keep to its end, beside its method's; the others may change when it is resumed.
_LASTING = ("model.trained", "lora.rank", "lora.alpha", "lora.targets", "run.seed", "run.batch")
_LASTING += ("data.frames", "run.method", "optimizer.method")

_log = logging.getLogger(__name__)


class TrainingFailedError(RuntimeError):
    """A run that cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Attributes:
        step: number of steps done.
        loss: mean over the step's clips.
        gradient: norm of the gradients before they were clipped.
        rate: learning rate.
        gradients: norms by group of parameters, before they were clipped; of the steps that are logged.
    """

    step: int
    loss: float
    gradient: float
    rate: float
    gradients: dict[str, float]


def learning_rate(settings: OptimizerSettings, step: int, steps: int, peak: float | None = None) -> float:
    """Return the learning rate of a step, from 0, of a run of `steps`; `peak` is another rate after the warm-up."""
    peak = settings.lr if peak is None else peak
    if step < settings.warmup:
        return peak * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return peak
    done = (step - settings.warmup) / max(1, steps - settings.warmup)
    return settings.lr_end + (peak - settings.lr_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Trainer:
    """A run: what is trained, on what, and where it stands.

    Args:
        method: what is trained, with all settings.
        network: of the method; what is trained is what asks for gradients.
        cache: the clips.
        accelerator: device, precision and processes.

    Raises:
        ValueError: if clips are missing or of another method, or the folder holds another training.
    """

    def __init__(self, method: Method, network: nn.Module, cache: ClipCache, accelerator: Accelerator) -> None:
        recipe = method.recipe
        settings = recipe.optimizer
        method.check_clips(cache)
        self.method, self.recipe, self.cache, self.accelerator = method, recipe, cache, accelerator
        self.network = spread(network, accelerator, shard=recipe.memory.shard)
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        # In the order of the optimizer, which counts them by group: one for every rate.
        self.parameters = dict(sorted(trained.items(), key=lambda item: method.peak_rate(item[0])))
        self.step = 0
        self.stop_asked = False
        self._bare = network
        self._share = share_of_step(recipe, accelerator.num_processes, accelerator.process_index)
        held_out = set(cache.held_out)
        cache_names = {name: entry.layout for name, entry in cache.entries.items() if name not in held_out}
        self.order: ClipOrder | NarrowedOrder = ClipOrder(cache_names, recipe.run.batch, recipe.run.seed)
        groups = [
            {"params": [self.parameters[name] for name in names], "lr": peak, "peak": peak}
            for peak, names in groupby(self.parameters, method.peak_rate)
        ]
        optimizer = optimizer_of(
            settings.method,
            groups,
            {value: name for name, value in self.parameters.items()},
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
        )
        self.optimizer = accelerator.prepare(optimizer)
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()} if settings.ema else {}
        self._resume()

    @property
    def folder(self) -> Path:
        """Folder of the checkpoints."""
        return self.recipe.run.out / CHECKPOINTS

    def run(self, after_step: Callable[[StepReport], None] = lambda report: None) -> str:
        """Train to the last step, or until `stop_asked` is set or a file `stop` lies in the run's folder.

        Returns why it ended.

        Args:
            after_step: called after every step, before its checkpoint.

        Raises:
            TrainingFailedError: if loss or gradients are not finite, or files of the run cannot be written. What was
                trained up to the last good state, which it names, is there.
        """
        every, steps = self.recipe.checkpoints.every, self.recipe.run.steps
        stop = self.recipe.run.out / STOP_FILE
        while self.step < steps:
            report = self._train_step()
            with self._files_told():
                after_step(report)
                asked = self._anybody(self.stop_asked or stop.exists())
                if asked or self.step % every == 0 or self.step == steps:
                    self.save()
            if asked:
                self.accelerator.wait_for_everyone()
                stop.unlink(missing_ok=True)
                return f"stopped after step {self.step}, as asked; the same command goes on from there"
        return f"done: {self.step} steps"

    def save(self) -> None:
        """Write a checkpoint of where the run stands; the main process does."""
        is_main, is_shared = self.accelerator.is_main_process, self.recipe.memory.shard
        if is_main or is_shared:
            tensors = checkpoint_tensors(self.parameters, self.optimizer, self.average)
        if is_main:
            path = write_checkpoint(self.folder, self.step, flat(self.recipe), tensors, self.recipe.checkpoints.keep)
            _log.info("step %d: %s; %s", self.step, path.name, self.health().describe())

    def health(self) -> LoraHealth:
        """Return the state of the LoRA; an empty one where none is trained, or processes share its weights."""
        return LoraHealth({}, ()) if self.recipe.memory.shard else lora_health(self._bare)

    @contextmanager
    def best(self) -> Iterator[nn.Module]:
        """Give the network, bare, with the moving average in the place of what is trained."""
        trained = {name: value.detach().clone() for name, value in self.parameters.items()} if self.average else {}
        try:
            self._put(self.average)
            yield self._bare
        finally:
            self._put(trained)

    @torch.no_grad()
    def held_out_loss(self) -> float | None:
        """Return the mean loss of the clips held out, at fixed noise and levels; None without such clips."""
        names = self.cache.held_out
        if not names:
            return None
        losses = []
        with self.best() as network:
            network.eval()
            for number, name in enumerate(names):
                clips = self.method.batch([self.cache.read(name)], self.accelerator.device)
                noise = torch.randn(clips.ego.shape, generator=generator_of(self.recipe.run.seed, -2, number))
                for level in self.method.held_out_levels:
                    draws = Draws(noise, torch.tensor([level]), torch.ones(1))  # nothing is left out
                    losses.append(self._losses(network, clips, draws).mean())
            network.train()
        return float(torch.stack(losses).mean())

    def _train_step(self) -> StepReport:
        run, settings = self.recipe.run, self.recipe.optimizer
        names = self.order.of_step(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step, run.steps, group["peak"])
        self.network.train()
        total = torch.zeros((), device=self.accelerator.device)
        for number, items in enumerate(self._share):
            torch.manual_seed(generator_of(run.seed, -3, self.step, items[0]).initial_seed())  # of dropout
            last = number == len(self._share) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                clips = self.method.batch([self.cache.read(names[item]) for item in items], self.accelerator.device)
                draws = draw(clips.ego.shape[1:], self.recipe.noise, run.seed, self.step, items)
                loss = self._losses(self.network, clips, draws).mean() / len(self._share)
                self.accelerator.backward(loss)
            total += loss.detach()
        logged = (self.step + 1) % self.recipe.checkpoints.log_every == 0 or self.step + 1 == run.steps
        gradients = gradient_norms(self.parameters) if logged and not self.recipe.memory.shard else {}
        gradient = gathered(self.accelerator.clip_grad_norm_(list(self.parameters.values()), settings.clip))
        loss = float(self.accelerator.reduce(total, "mean"))
        if not (math.isfinite(loss) and math.isfinite(float(gradient))):
            self.optimizer.zero_grad()
            raise TrainingFailedError(self._not_finite(loss, float(gradient), names))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if self.average:
            share = 1 - min(settings.ema, (1 + self.step) / (10 + self.step))
            now = [self.parameters[name].detach() for name in self.average]
            torch._foreach_lerp_(list(self.average.values()), now, share)
        rate = learning_rate(settings, self.step - 1, run.steps)
        return StepReport(self.step, loss, float(gradient), rate, gradients)

    def _anybody(self, yes: bool) -> bool:
        """Whether any process says yes: all have to stop after the same step."""
        return bool(self.accelerator.reduce(torch.tensor(float(yes), device=self.accelerator.device), "sum"))

    def _losses(self, network: nn.Module, clips: Any, draws: Draws) -> Tensor:
        with self.accelerator.autocast():
            return self.method.losses(network, clips, draws.to(clips.ego))

    def _not_finite(self, loss: float, gradient: float, names: Sequence[str]) -> str:
        broken = [name for name in dict.fromkeys(names) if not self.cache.read(name).is_finite()]
        why = (
            f"The clip {broken[0]} in {self.cache.folder} holds values that are not finite: delete its shard "
            f"{self.cache.entries[broken[0]].shard.name} and run `training cache` again"
            if broken
            else f"Its clips ({', '.join(dict.fromkeys(names))}) are finite: take a lower lr or clip, or precision fp32"
        )
        return (
            f"Step {self.step + 1} gave loss {loss:g} and gradients of norm {gradient:g}. {why}; {self._last_good()}."
        )

    def _last_good(self) -> str:
        files = checkpoint_files(self.folder)
        return f"the last good state is {files[-1]}" if files else "there is no checkpoint yet"

    @contextmanager
    def _files_told(self) -> Iterator[None]:
        """Tell in a sentence where files cannot be written: the disk is full, or its rights have changed."""
        try:
            yield
        except OSError as error:
            raise TrainingFailedError(
                f"After step {self.step} a file of the run could not be written: {error}. Once there is room the same "
                f"command goes on; {self._last_good()}."
            ) from error

    def _resume(self) -> None:
        if self.accelerator.is_main_process:
            remove_unfinished(self.folder)
        checkpoint = newest_checkpoint(self.folder)
        if checkpoint is None:
            return
        self._check_recipe(checkpoint)
        restore(checkpoint, self.parameters, self.optimizer, self.average)
        self.step = checkpoint.step
        _log.info("resumed from %s", checkpoint.path)

    def _check_recipe(self, checkpoint: Checkpoint) -> None:
        now = flat(self.recipe)
        for key in (*_LASTING, *self.method.lasting):
            then = checkpoint.recipe.get(key, now[key])  # older checkpoints lack newer settings
            if then != now[key]:
                table, _, name = key.partition(".")
                raise ValueError(
                    f"{checkpoint.path} was trained with [{table}] {name} = {then}, and the recipe says {now[key]}: "
                    "choose another folder under [run] out for another training."
                )

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.parameters[name].copy_(value)


def flat(recipe: Recipe) -> dict[str, str]:
    """Return all settings of a recipe as text, by "table.key"."""
    tables = vars(recipe)
    return {f"{table}.{key}": str(value) for table, settings in tables.items() for key, value in vars(settings).items()}


def share_of_step(recipe: Recipe, processes: int, index: int) -> list[list[int]]:
    """Return the places in a step's batch that are this process's, for each of its batches one after the other."""
    batch, accumulate = recipe.run.batch, recipe.run.accumulate
    if batch % (processes * accumulate):
        raise ValueError(
            f"[run] batch is {batch}, of {processes} processes and {accumulate} accumulated batches: it is a multiple "
            f"of {processes * accumulate}."
        )
    each = batch // (processes * accumulate)
    first = index * each * accumulate
    return [list(range(first + part * each, first + (part + 1) * each)) for part in range(accumulate)]
