"""How a training saves memory, as its recipe says."""

from __future__ import annotations

from dataclasses import dataclass

import torch

AS_PRECISION = "as precision"
FP8, NF4 = "fp8", "nf4"
BASES = (AS_PRECISION, "bf16", FP8, NF4)
QUANTISED = (FP8, NF4)


@dataclass(frozen=True)
class MemorySettings:
    """Where frozen weights lie, and in how many bits.

    Attributes:
        base: how the blocks' frozen weights are stored: as the run's precision says, in bf16, in fp8 (e4m3 and a scale
            for every row, or as a scaled file of ComfyUI's has them) or in nf4 (4 bits, by bitsandbytes). Whatever it
            is, they are computed in the run's precision.
        swap_blocks: so many blocks, the last, have their frozen weights in the host's memory and are fetched for use.
        shard: whether the processes of `accelerate launch` share all weights among them (FSDP2) rather than each
            keeping a copy.

    Raises:
        ValueError: if a value is not known or out of range.
    """

    base: str = AS_PRECISION
    swap_blocks: int = 0
    shard: bool = False

    def __post_init__(self) -> None:
        if self.base not in BASES:
            raise ValueError(f"base is one of {', '.join(BASES)}, got {self.base!r}.")
        if self.swap_blocks < 0:
            raise ValueError(f"swap_blocks is a number of blocks from 0 up, got {self.swap_blocks}.")
        if self.shard and (self.swap_blocks or self.base in QUANTISED):
            raise ValueError(
                "shard shares whole weights among cards: leave swap_blocks at 0 and base at bf16 with it, or shard out."
            )

    def check(self, *, is_base_frozen: bool, checkpoints_gradients: bool) -> None:
        """Check the settings beside what is trained and how.

        Args:
            is_base_frozen: whether a base model is trained on whose weights, or most, stay as they are.
            checkpoints_gradients: whether blocks are run again in the backward pass.

        Raises:
            ValueError: if they do not go together.
        """
        if not is_base_frozen and (self.swap_blocks or self.base != AS_PRECISION):
            name = "swap_blocks" if self.swap_blocks else f'base = "{self.base}"'
            raise ValueError(f"[memory] {name} is about frozen weights: leave it out where all weights are trained.")
        if self.swap_blocks and not checkpoints_gradients:
            raise ValueError(
                "[memory] swap_blocks needs [run] gradient_checkpointing = true: without it the backward pass keeps "
                "every block's weights on the card."
            )

    def dtype(self, precision: str) -> torch.dtype:
        """Return the type in which frozen weights are computed, and stored unless they are quantised.

        Args:
            precision: of the run, bf16 or fp32.
        """
        return torch.bfloat16 if "bf16" in (precision, self.base) else torch.float32
