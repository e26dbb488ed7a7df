"""Exo reuse written out in plain torch: every step computes all tokens, and exo keys and values are replaced by hand.

It shares no code with the pack. What exo tokens make of themselves then reaches nobody, so that the ego view is what a
step of the ego tokens alone must give.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .egox_witness import Predict


def frozen_exo_predict(
    network: Any,
    is_full: Callable[[int], bool],
    exo_columns: int,
    shown: Callable[[Tensor], Tensor] = lambda kept: kept,
    windows: int = 1,
) -> Predict:
    """Call ComfyUI's raw WanModel with dense attention, exo keys and values frozen in some calls.

    Args:
        network: the WanModel.
        is_full: of a call's number, counted for positive and negative text and every window apart: whether its keys
            are its own.
        exo_columns: token columns of the exo view.
        shown: what becomes of a frozen tensor [B, rows, exo columns, channels] that waits.
        windows: of a long clip, one after the other.
    """
    kept: dict[tuple[float, int, int], tuple[Tensor, Tensor]] = {}
    calls: Counter[float] = Counter()

    def predict(x: Tensor, timestep: Tensor, text: Tensor, features: Tensor, bias: Tensor | None) -> Tensor:
        frames, height, width = x.shape[2:]
        rows, columns = frames * height // 2, width // 2
        branch = float(text.double().sum())
        call, window = divmod(calls[branch], windows)
        full = is_full(call)
        calls[branch] += 1
        block = itertools.count()

        def dense(function: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Tensor:
            if k.shape[1] != rows * columns:
                return function(q, k, v, heads, *args, **kwargs)
            place = (branch, window, next(block))
            exo_k, exo_v = (z.reshape(len(z), rows, columns, -1)[:, :, :exo_columns] for z in (k, v))
            if full:
                kept[place] = (exo_k.clone(), exo_v.clone())
            else:
                exo_k.copy_(shown(kept[place][0]))
                exo_v.copy_(shown(kept[place][1]))
            query, key, value = (z.unflatten(2, (heads, -1)).transpose(1, 2) for z in (q, k, v))
            logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            logits = logits if bias is None else logits + bias
            return (logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)

        return network(
            x, timestep, text, clip_fea=features, transformer_options={"optimized_attention_override": dense}
        )

    return predict
