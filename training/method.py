"""What is a method's own of a training: its network, its loss, its samples and its files.

The trainer, its checkpoints, the noise and the order of clips are one for all methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .data.cache import ClipCache
from .network.lora import COMFYUI
from .network.transformer import WanSize
from .noise import Draws
from .recipe import Recipe
from .state import Checkpoint


class Method(ABC):
    """A method with its settings.

    Args:
        recipe: all settings.

    Attributes:
        lasting: settings, as "table.key", that a run keeps to its end beside those of the trainer.
        base_kind: which model of Wan's family it is trained on; None for a network that has none below it.
        held_out_levels: noise levels of the held-out loss.
    """

    lasting: ClassVar[tuple[str, ...]] = ()
    base_kind: ClassVar[str | None] = None
    held_out_levels: ClassVar[tuple[float, ...]] = (0.2, 0.4, 0.6, 0.8)

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the network; what is trained asks for gradients.

        Raises:
            ValueError: if a file that it begins with is missing, damaged or of another kind or size.
        """

    @abstractmethod
    def empty_network(self, size: WanSize | None) -> nn.Module:
        """Return the network on the meta device, without weights; `size` is the base model's, where there is one."""

    @abstractmethod
    def batch(self, clips: Sequence[Any], device: torch.device | str) -> Any:
        """Join clips of one size on a device; what comes out has the true latent [B, 16, T, h, w] as `ego`."""

    @abstractmethod
    def losses(self, network: nn.Module, clips: Any, draws: Draws) -> Tensor:
        """Return each clip's loss [B], in float32."""

    @abstractmethod
    def sample(self, network: nn.Module, clips: Any, cache: ClipCache) -> dict[str, Tensor]:
        """Return what the network makes of clips, as "ego", with what it is seen beside; latents in the model's scale.

        Raises:
            ValueError: if a CFG above 1 lacks what it compares with.
        """

    @abstractmethod
    def export(self, checkpoint: Checkpoint, path: Path, names: str = COMFYUI) -> str:
        """Write what a checkpoint has trained, each file whole or not at all; returns what was written, in lines.

        Args:
            checkpoint: what is written.
            path: NAME.safetensors.
            names: whose names a LoRA's tensors get; one of `names`.

        Raises:
            ValueError: if weights are not finite, or the checkpoint is of another training.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Whose names `export` knows."""
        return (COMFYUI,)

    @abstractmethod
    def trained(self) -> str:
        """Return what is trained, in a few words."""

    def describe(self) -> list[str]:
        """Return how it is trained, in lines."""
        return []

    def files(self, path: Path) -> list[Path]:
        """Return the files that `export` makes for the name `path`."""
        return [path]

    def peak_rate(self, name: str) -> float:
        """Return the learning rate of a parameter after the warm-up."""
        return self.recipe.optimizer.lr

    def check_clips(self, cache: ClipCache) -> None:
        """Check that clips are the method's own.

        Raises:
            ValueError: naming the first that is not.
        """
        for name, entry in cache.entries.items():
            if entry.kind != self.recipe.clip_kind:
                raise ValueError(
                    f"The clip {name} in {cache.folder} was encoded for {entry.kind}, and [run] method is "
                    f"{self.recipe.run.method}: give this recipe a cache of its own under [data] cache."
                )
