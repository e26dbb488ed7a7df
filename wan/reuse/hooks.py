"""The hooks of one model call: a full step whose exo keys and values are kept, or a step of the ego tokens alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...attention.guided_attention import PlainAttention
from ...attention.layout import TokenLayout
from ..egox.gga_hooks import HookCounts, SelfAttentionHooks
from ..shared.block_hooks import BlockPatch
from ..shared.replayed_graphs import outside_replayed_graphs
from .kept import KeptBranch, KeptTensors


class _OfBranches(SelfAttentionHooks):
    """Args as of both kinds of calls.

    Args:
        kept: of the run.
        branches: those that are joined in the call's batch, in their order.
        n_blocks: of the model.
    """

    def __init__(self, kept: KeptTensors, branches: Sequence[KeptBranch], n_blocks: int) -> None:
        self.counts = HookCounts()
        super().__init__(range(n_blocks), self.counts)
        self._kept = kept
        self._of_branches = list(branches)
        self._n_blocks = n_blocks
        self._block = -1

    def _exo(self, layout: TokenLayout, joined: Tensor) -> Sequence[Tensor]:
        """Return the exo tokens [b, rows, exo columns, channels] of joined tokens for every branch, as views."""
        return layout.as_rows(joined)[:, :, : layout.exo_columns].chunk(len(self._of_branches))


class FullStep(_OfBranches):
    """Keeps exo keys and values of a step that is computed as without it."""

    def __init__(self, kept: KeptTensors, branches: Sequence[KeptBranch], n_blocks: int) -> None:
        super().__init__(kept, branches, n_blocks)
        self._seen: set[int] = set()
        kept.begin(self._of_branches)

    def ended(self, step: int) -> bool:
        """Mark what was kept as of a step, if it is whole; return whether it is."""
        is_whole = len(self._seen) == self._n_blocks
        for branch in self._of_branches:
            branch.step = step if is_whole else None
        return is_whole

    @torch.compiler.disable(recursive=False)
    def _run_block(self, index: int, before: BlockPatch, args: dict, extra: dict) -> dict:
        self._block = index
        return super()._run_block(index, before, args, extra)

    def self_attention(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: TokenLayout, plain: PlainAttention
    ) -> Tensor:
        """Keep, then run the attention that was in force."""
        for at, (branch, keys, values) in enumerate(
            zip(self._of_branches, self._exo(layout, k), self._exo(layout, v), strict=True)
        ):
            self._kept.keep(branch, self._block, keys, values, at)
        self._seen.add(self._block)
        return plain(q, k, v, heads)


class EgoAlone(_OfBranches):
    """Runs the blocks on the ego tokens, whose self-attention gets the kept exo keys and values.

    Exo tokens are dropped before the first block, and their number is restored after the last one, for what follows.
    What other packs hook around blocks sees the ego tokens.

    Args:
        layout: of the joined tokens.
    """

    def __init__(self, kept: KeptTensors, branches: Sequence[KeptBranch], n_blocks: int, layout: TokenLayout) -> None:
        super().__init__(kept, branches, n_blocks)
        self._layout = layout
        self._rope: Tensor | None = None

    def lengths(self, layout: TokenLayout) -> set[tuple[int, int]]:
        """Return numbers of queries and keys: Wan computes those of the ego tokens."""
        return {(layout.ego_tokens, layout.ego_tokens)}

    @torch.compiler.disable(recursive=False)
    def _run_block(self, index: int, before: BlockPatch, args: dict, extra: dict) -> dict:
        self._block = index
        with outside_replayed_graphs():  # no other step has tokens of this number
            if self._rope is None:
                self._rope = self._layout.ego(args["pe"])
            image = args["img"]
            if image.shape[1] == self._layout.n_tokens:
                image = self._layout.ego(image)
            out = super()._run_block(index, before, {**args, "img": image, "pe": self._rope}, extra)
            self._check_reached()
            if index == self._n_blocks - 1:
                joined = self._layout.beside_nothing(out["img"])
                self._layout.as_rows(joined)[:, :, : self._layout.exo_columns] = 0  # cut off behind the head
                out = {**out, "img": joined}
        return out

    def self_attention(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: TokenLayout, plain: PlainAttention
    ) -> Tensor:
        """Run the attention that was in force, with the exo keys and values in their places."""
        k, v = layout.beside_nothing(k), layout.beside_nothing(v)
        for at, (branch, keys, values) in enumerate(
            zip(self._of_branches, self._exo(layout, k), self._exo(layout, v), strict=True)
        ):
            branch.blocks[self._block].write(keys, values, at)
            if self._block + 1 < self._n_blocks:
                branch.blocks[self._block + 1].fetch(at)
        return plain(q, k, v, heads)

    def _check_reached(self) -> None:
        if self.counts.hits < self.counts.blocks:
            raise ValueError(
                f"Exo Reuse did not reach the self-attention of block {self._block}, which it had reached in the step "
                "before: another node replaces it in some steps. Remove that node, or set every to 1 (off)."
            )
