"""Checkpoints of a run: one file each, from which the run goes on as if nothing had happened.

A file holds what is trained, its moving average and the optimizer's state, each by the parameter's name, and in its
header the step and the recipe. It appears whole or not at all; noise and the order of clips follow from the step.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..common.whole_file import whole_file
from ..networks.weights.safetensors_file import read_safetensors, write_safetensors

FORMAT = "exo2ego_training"
FORMAT_VERSION = "1"

TRAINED, AVERAGE, OPTIMIZER = "trained", "average", "optimizer"

_NAME = re.compile(r"step-(\d{8})\.safetensors")
_WHAT_FILE = "A checkpoint is written by `training train`."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: the file.
        step: optimizer steps that are done.
        recipe: what the run was set to, by "table.key".
        tensors: by kind and the parameter's name.
    """

    path: Path
    step: int
    recipe: dict[str, str]
    tensors: dict[str, dict[str, Tensor]]

    @property
    def best(self) -> dict[str, Tensor]:
        """What is sampled and exported: the moving average where there is one."""
        return self.tensors[AVERAGE] or self.tensors[TRAINED]


def checkpoint_files(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, None where there are none; a damaged one is named in the log.

    Raises:
        ValueError: if all of them are damaged.
    """
    errors = []
    for path in reversed(checkpoint_files(folder)):
        try:
            checkpoint = read_checkpoint(path)
        except ValueError as error:
            errors.append(error)
        else:
            for error in errors:
                _log.warning("%s It is left out: %s is taken in its place.", error, path.name)
            return checkpoint
    if errors:
        raise ValueError(f"None of the {len(errors)} checkpoints in {folder} can be read. {errors[0]}")
    return None


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed while they wrote a checkpoint left behind."""
    for path in folder.glob(".step-*.safetensors"):
        path.unlink(missing_ok=True)


def write_checkpoint(
    folder: Path,
    step: int,
    recipe: Mapping[str, str],
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    average: Mapping[str, Tensor],
    keep: int,
) -> Path:
    """Write a checkpoint and remove all but the newest `keep` up to it; returns the file.

    Newer ones are damaged, or the run would go on from them: they stay until it comes to their step.

    Raises:
        OSError: if the disk is full, or may not be written. All checkpoints are as they were.
    """
    tensors: dict[str, Tensor] = {f"{TRAINED}.{name}": parameter for name, parameter in parameters.items()}
    tensors |= {f"{AVERAGE}.{name}": value for name, value in average.items()}
    for name, parameter in parameters.items():
        for key, value in optimizer.state[parameter].items():
            kept = torch.as_tensor(value)
            # Moments of 8 bits are numbers of a table, and stay such.
            tensors[f"{OPTIMIZER}.{name}.{key}"] = kept if kept.dtype == torch.uint8 else kept.float()
    path = folder / f"step-{step:08d}.safetensors"
    strings = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": str(step), "recipe": json.dumps(recipe)}
    with whole_file(path) as unfinished:
        write_safetensors(unfinished, tensors, strings)
        _bring_to_disk(unfinished)
    for old in [old for old in checkpoint_files(folder) if old <= path][:-keep]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ValueError: for a file that is not there, damaged or not a checkpoint.
    """
    tensors, strings = read_safetensors(path, _WHAT_FILE)
    if strings.get("format") != FORMAT or strings.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path} is not a checkpoint of this trainer's version. {_WHAT_FILE}")
    kinds: dict[str, dict[str, Tensor]] = {TRAINED: {}, AVERAGE: {}, OPTIMIZER: {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        kinds[kind][rest] = tensor
    return Checkpoint(path, int(strings["step"]), json.loads(strings["recipe"]), kinds)


@torch.no_grad()
def restore(
    checkpoint: Checkpoint,
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    average: Mapping[str, Tensor],
) -> None:
    """Bring parameters, their moving average and the optimizer to where a checkpoint was written.

    Raises:
        ValueError: if the checkpoint is of other parameters.
    """
    _check_same(checkpoint, parameters, TRAINED)
    _check_same(checkpoint, average, AVERAGE)
    for name, parameter in parameters.items():
        parameter.copy_(checkpoint.tensors[TRAINED][name])
    for name, value in average.items():
        value.copy_(checkpoint.tensors[AVERAGE][name])
    states: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}
    for name, tensor in checkpoint.tensors[OPTIMIZER].items():
        parameter, _, key = name.rpartition(".")
        states[parameter][key] = tensor.clone()
    # By number, as the optimizer's own state has it, which brings them to the parameters' device.
    names = {id(parameter): name for name, parameter in parameters.items()}
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    numbered = {index: states[name] for index, name in enumerate(order) if states[name]}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": numbered})


def _bring_to_disk(path: Path) -> None:
    """Have a file on the disk itself before older ones go: a power failure loses what is still on its way there."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _check_same(checkpoint: Checkpoint, wanted: Mapping[str, Tensor], kind: str) -> None:
    found = checkpoint.tensors[kind]
    odd = sorted(set(found) ^ set(wanted))
    odd += [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    if odd:
        raise ValueError(
            f"{checkpoint.path} is of another training: {len(odd)} {kind} parameters differ, such as {odd[0]}. Choose "
            "another folder for this run under [run] out, or the recipe that began it."
        )
