"""Exo reuse on a MODEL, and what blocks it runs on how many tokens."""

from __future__ import annotations

from typing import Any

from exo2ego.wan.reuse.apply import apply_reuse
from exo2ego.wan.reuse.plan import ReuseSettings

# Of the made-up clip: both views, and the ego view.
TOKENS, EGO_TOKENS = 3 * 3 * 8, 3 * 3 * 3
EXO_COLUMNS = 5


def with_reuse(model: Any, every: int = 2, keep: str = "auto") -> Any:
    """Apply exo reuse as the node does."""
    return apply_reuse(model, ReuseSettings(every, keep))


def watched(model: Any) -> tuple[Any, list[int]]:
    """Return a MODEL that tells of how many tokens its blocks run, and the list of that."""
    seen: list[int] = []

    def watch(args: dict, extra: dict) -> dict:
        seen.append(args["img"].shape[1])
        return extra["original_block"](args)

    patched = model.clone()
    for block in range(2):
        patched.set_model_patch_replace(watch, "dit", "double_block", block)
    return patched, seen


def steps_of(seen: list[int]) -> str:
    """Return model calls of two blocks as letters: F in full, e the ego view alone."""
    assert seen[::2] == seen[1::2]
    return "".join({TOKENS: "F", EGO_TOKENS: "e"}[tokens] for tokens in seen[::2])
