"""The hooks of one model call through which GGA reaches Wan's self-attention.

ComfyUI's `optimized_attention_override` sees every attention call, self and cross, of every block. A hook around each
block says which block runs; the first attention call in a block over all joined tokens is its self-attention. Overrides
and block patches that were there before stay in force: they get the exo queries, a few heads at a time, and every other
call.

torch.compile does not trace the hooks, for their counts would be a new guard at every call, but what they call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...attention.bias import GGABias
from ...attention.call import AttentionCall
from ...attention.directions import TokenDirections
from ...attention.guided_attention import PlainAttention, gga_attention, gga_attention_of_ego
from ...attention.layout import TokenLayout
from ...common.safe_text import safe_logger
from ..shared.block_hooks import BlockPatch, with_block_hooks
from ..shared.replayed_graphs import outside_replayed_graphs
from ..shared.wrappers import EGOX_KEY

OVERRIDE = "optimized_attention_override"

_log = safe_logger(__name__)


@dataclass
class HookCounts:
    """What the hooks of a model call met, or those of a whole sampling run.

    Attributes:
        calls: model calls with hooks.
        blocks: blocks that ran.
        hits: blocks whose self-attention was guided.
    """

    calls: int = 0
    blocks: int = 0
    hits: int = 0
    _warned: bool = False

    @torch.compiler.disable
    def add(self, call: HookCounts) -> None:
        """Take in what one model call met, and warn, once, of blocks whose self-attention never reached the hook.

        Calls count by themselves, for on several GPUs they run side by side.
        """
        self.calls += call.calls
        self.blocks += call.blocks
        self.hits += call.hits
        if call.hits < call.blocks and not self._warned:
            self._warned = True
            _log.warning(
                "GGA reached the self-attention of only %d of %d blocks: another node replaces Wan's self-attention "
                "and bypasses ComfyUI's attention override. Remove it (a sparse or sliding attention) for full GGA.",
                call.hits,
                call.blocks,
            )

    def warn_of_no_effect(self) -> None:
        """Warn at the end of a run in which no block was met at all."""
        if self.calls and not self.hits and not self._warned:
            _log.warning(
                "GGA had no effect: another node runs Wan's blocks on its own and bypasses ComfyUI's block patches. "
                "Remove it to have GGA."
            )


class SelfAttentionHooks(ABC):
    """Meets the self-attention of chosen blocks in one model call.

    Args:
        blocks: which blocks.
        counts: updated with what is met.
    """

    def __init__(self, blocks: range, counts: HookCounts) -> None:
        self._blocks = blocks
        self._counts = counts
        self._previous_override: Callable[..., Tensor] | None = None
        self._awaits_self_attention = False

    def installed(self, transformer_options: dict) -> dict:
        """Return a copy of transformer_options with the hooks chained before those that are there."""
        self._counts.calls += 1
        self._previous_override = transformer_options.get(OVERRIDE)
        return {
            **with_block_hooks(transformer_options, self._blocks, self._run_block),
            OVERRIDE: self._attention,
        }

    @torch.compiler.disable(recursive=False)
    def _run_block(self, index: int, before: BlockPatch, args: dict, extra: dict) -> dict:
        """Run the patch that was there, if any, around the marked block."""
        return before(args, {**extra, "original_block": partial(self._run_marked, extra["original_block"])})

    @torch.compiler.disable(recursive=False)
    def _run_marked(self, original_block: Callable[[dict], dict], args: dict) -> dict:
        self._awaits_self_attention = True
        self._counts.blocks += 1
        try:
            return original_block(args)
        finally:
            self._awaits_self_attention = False

    @torch.compiler.disable
    def _attention(
        self, function: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any
    ) -> Tensor:
        """`optimized_attention_override`: take the awaited self-attention, pass on every other call."""

        def plain(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
            if self._previous_override is None:
                return function(query, key, value, heads, *args, **kwargs)
            return self._previous_override(function, query, key, value, heads, *args, **kwargs)

        layout: TokenLayout | None = kwargs["transformer_options"].get(EGOX_KEY)
        if layout is None or not self._is_self_attention(q, k, layout, args, kwargs):
            return plain(q, k, v, heads)
        self._awaits_self_attention = False
        self._counts.hits += 1
        with outside_replayed_graphs():
            return self.self_attention(q, k, v, heads, layout, plain)

    @abstractmethod
    def self_attention(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: TokenLayout, plain: PlainAttention
    ) -> Tensor:
        """Return the self-attention of a chosen block; `plain` is what was in force before."""

    def lengths(self, layout: TokenLayout) -> set[tuple[int, int]]:
        """Return numbers of queries and keys by which self-attention is known."""
        return {(layout.n_tokens, layout.n_tokens)}

    def _is_self_attention(self, q: Tensor, k: Tensor, layout: TokenLayout, args: tuple, kwargs: dict) -> bool:
        if not self._awaits_self_attention or q.ndim != 3:
            return False
        is_masked = kwargs.get("mask") is not None or (len(args) > 0 and args[0] is not None)
        return (q.shape[1], k.shape[1]) in self.lengths(layout) and not is_masked


class GGAHooks(SelfAttentionHooks):
    """Guides the self-attention of one model call.

    Args:
        directions: of the call's frames, on the model's device.
        bias: the bias of ego queries and exo keys.
        blocks: which blocks to guide.
        counts: updated with what is met.
        backend: who computes the attention of the ego queries.
    """

    def __init__(
        self, directions: TokenDirections, bias: GGABias, blocks: range, counts: HookCounts, backend: str
    ) -> None:
        super().__init__(blocks, counts)
        self._directions = directions
        self._bias = bias
        self._backend = backend

    def lengths(self, layout: TokenLayout) -> set[tuple[int, int]]:
        """Return numbers of queries and keys: in a step with kept exo keys the ego queries come alone."""
        return super().lengths(layout) | {(layout.ego_tokens, layout.n_tokens)}

    def self_attention(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, layout: TokenLayout, plain: PlainAttention
    ) -> Tensor:
        """Bias the ego queries."""
        alone = q.shape[1] != layout.n_tokens
        joined = layout.beside_nothing(q) if alone else q
        call = AttentionCall(joined, k, v, heads, layout, self._directions, self._bias)
        if alone:
            return gga_attention_of_ego(call, self._backend)
        return gga_attention(call, plain, self._backend)
