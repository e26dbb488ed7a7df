"""How exo tokens and the ego camera's path get into Wan's blocks during one model call.

ComfyUI brings every text to the blocks through a layer of 4,096 inputs, so tokens of the blocks' own width cannot come
as CONDITIONING. A hook around each block changes what it is given: `txt` is what cross-attention sees, `img` the
tokens, which before the first block are the patch embedding. Block patches of other packs stay in force and see the
same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...common.safe_text import safe_logger
from ..shared.block_hooks import BlockPatch, with_block_hooks
from .adapters import CallFeatures

Enter = Callable[[int, Tensor, CallFeatures], Tensor]

_log = safe_logger(__name__)


@dataclass
class SynCounts:
    """The model calls of a sampling run, which on several GPUs run side by side, and what was said of them."""

    calls: int = 0
    _warned: bool = False

    @torch.compiler.disable
    def check(self, call: int, met: int, expected: int) -> None:
        """Check after a model call that its hooked blocks ran.

        Args:
            call: its number, from 1.
            met: blocks that ran.
            expected: blocks that were hooked.

        Raises:
            ValueError: if none did in the first call. Later a cache of other packs may skip them.
        """
        if call == 1 and not met:
            raise ValueError(
                "Exo2EgoSyn has no effect: another node runs Wan's blocks on its own and bypasses ComfyUI's block "
                "patches. Remove it from the MODEL."
            )
        if 0 < met < expected and not self._warned:
            self._warned = True
            _log.warning(
                "Exo2EgoSyn reached only %d of %d blocks: another node runs some of Wan's blocks on its own. Remove it "
                "for the exo views to be seen in all.",
                met,
                expected,
            )


class SynHooks:
    """Gives the features of one model call to Wan's blocks.

    Args:
        features: of the call.
        enter: changes the tokens [B, n, dim] before a block, which it is told by number.
        blocks: number of the model's blocks.
        counts: updated with what is met.
    """

    def __init__(self, features: CallFeatures, enter: Enter, blocks: int, counts: SynCounts) -> None:
        self._features = features
        self._enter = enter
        # Without exo tokens and light blocks only the first block's input changes.
        in_all = features.context is not None or features.block_pose is not None
        self._blocks = range(blocks if in_all else 1)
        self._counts = counts
        self._call = self._met = 0

    def installed(self, transformer_options: dict) -> dict:
        """Return a copy of transformer_options with the hooks around the block patches that are there."""
        self._counts.calls += 1
        self._call, self._met = self._counts.calls, 0
        return with_block_hooks(transformer_options, self._blocks, self._run_block)

    @torch.compiler.disable
    def check(self) -> None:
        """Check after the model call that the blocks ran; see `SynCounts.check`."""
        self._counts.check(self._call, self._met, len(self._blocks))

    # torch.compile traces the block, not this: counts would be a new guard at every call.
    @torch.compiler.disable(recursive=False)
    def _run_block(self, index: int, before: BlockPatch, args: dict, extra: dict) -> dict:
        """Run the block, or the patch that was there, on changed input."""
        self._met += 1
        args = dict(args)
        if self._features.context is not None:
            args["txt"] = self._features.context
        args["img"] = self._enter(index, args["img"], self._features)
        return before(args, extra)
