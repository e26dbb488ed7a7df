"""Which clips a step sees; all of it follows from the seed, so that nothing has to be saved."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ..noise import generator_of


class ClipOrder:
    """Batches of clips of one size, every clip once an epoch.

    A size with fewer clips than a batch, or a rest, is filled up with further clips of its size.

    Args:
        sizes: of every clip by its name.
        batch: clips a step, over all processes and accumulated batches.
        seed: of the run.
    """

    def __init__(self, sizes: Mapping[str, Hashable], batch: int, seed: int) -> None:
        if not sizes:
            raise ValueError("There is no clip to train on.")
        self._groups: dict[Hashable, list[str]] = {}
        for name in sorted(sizes):
            self._groups.setdefault(sizes[name], []).append(name)
        self._batch = batch
        self._seed = seed
        self.steps_per_epoch = sum(-(-len(names) // batch) for names in self._groups.values())
        self._epoch: tuple[int, list[list[str]]] = (-1, [])

    def of_step(self, step: int) -> Sequence[str]:
        """Return the names of a step's clips, in the order of the batch."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._batches(epoch))
        return self._epoch[1][index]

    def _batches(self, epoch: int) -> list[list[str]]:
        generator = generator_of(self._seed, -1, epoch)
        batches = []
        for names in self._groups.values():
            order = [names[index] for index in torch.randperm(len(names), generator=generator)]
            count = -(-len(order) // self._batch)
            filled = (order * (1 + count * self._batch // len(order)))[: count * self._batch]
            batches += [filled[start : start + self._batch] for start in range(0, len(filled), self._batch)]
        return [batches[index] for index in torch.randperm(len(batches), generator=generator)]


@dataclass(frozen=True)
class NarrowedOrder:
    """All clips first, and some of them later.

    Attributes:
        first: the batches of the first steps.
        later: those of the steps that follow.
        after: how many steps the first ones are.
    """

    first: ClipOrder
    later: ClipOrder
    after: int

    def of_step(self, step: int) -> Sequence[str]:
        """Return the names of a step's clips, in the order of the batch."""
        return (self.first if step < self.after else self.later).of_step(step)
