"""Hooks around Wan's blocks for one model call, chained with the block patches that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch

# `patches_replace` of a block: (args, extra) -> result, where extra["original_block"](args) runs the block.
BlockPatch = Callable[[dict, dict], dict]

# `(index, before, args, extra)`: as a block patch; `before` is the patch that was there, or runs the block.
BlockHook = Callable[[int, BlockPatch, dict, dict], dict]


def with_block_hooks(transformer_options: dict, blocks: Iterable[int], hook: BlockHook) -> dict:
    """Return a copy of transformer_options with a hook around the patches of some blocks.

    torch.compile should not trace the hook: decorate it with `torch.compiler.disable(recursive=False)`.

    Args:
        transformer_options: of the model call; left as they are.
        blocks: numbers of the blocks.
        hook: runs in the place of each.
    """
    replacements = transformer_options.get("patches_replace", {})
    patches = dict(replacements.get("dit", {}))
    for index in blocks:
        key = ("double_block", index)
        patches[key] = partial(hook, index, patches.get(key, _run_unpatched))
    return {**transformer_options, "patches_replace": {**replacements, "dit": patches}}


@torch.compiler.disable(recursive=False)
def _run_unpatched(args: dict, extra: dict) -> dict:
    return extra["original_block"](args)
