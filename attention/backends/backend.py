"""What a back end of GGA's attention states of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..call import AttentionCall

Reason = Callable[[AttentionCall], str | None]


def never(call: AttentionCall) -> str | None:
    """Return None: no call is refused."""
    return None


@dataclass(frozen=True)
class Backend:
    """Who computes the attention of the ego queries.

    A new one is a module beside this with its `BACKEND`, and its name in the order of `attention.choice`.

    Attributes:
        hint: what it is, in a few words, for the node's tooltip.
        attend: `(call, out)` writes the attention of the ego queries to all keys into the ego tokens of `out`
            [B, n_tokens, heads * d], its last axis contiguous; it leaves the exo tokens alone.
        unsupported: returns why it cannot take a call, or None.
        declined: returns why `auto` passes it over although it can take a call, or None.
        automatic: whether `auto` thinks of it at all.
        error: of its result where it approximates on purpose, against the largest value; 0 where it rounds alone.
    """

    hint: str
    attend: Callable[[AttentionCall, Tensor], None]
    unsupported: Reason = never
    declined: Reason = never
    automatic: bool = True
    error: float = 0.0
