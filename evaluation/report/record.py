"""A result as JSON, with every frame's scores."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

from torch import Tensor

from ..evaluate import Result
from ..intervals import Interval

FORMAT, VERSION = "exo2ego.evaluation", 1


def record(result: Result) -> dict[str, Any]:
    """Return a result for `json.dumps`; what is not known is null."""
    measured = [name for name in result.metrics if name != "fvd"]
    groups: list[str | None] = [None, *(result.groups if len(result.groups) > 1 else [])]
    return {
        "format": FORMAT,
        "version": VERSION,
        "protocol": result.protocol.name,
        "intervals": {"level": 0.95, "resamples": result.resamples, "seed": result.seed, "over": "clips"},
        "means": {
            group or "all": {
                method: {name: _interval(result.interval(method, name, group)) for name in result.metrics}
                for method in result.methods
            }
            for group in groups
        },
        "paired_differences": [
            {
                "first": first,
                "second": second,
                "first_minus_second": {name: _interval(result.difference(first, second, name)) for name in measured},
            }
            for first, second in combinations(result.methods, 2)
        ],
        "clips": [
            {
                "name": clip.name,
                "group": clip.group,
                "frames": clip.frames,
                "size": list(clip.size),
                "scores": {
                    method: {name: _values(values) for name, values in scores.items()}
                    for method, scores in clip.scores.items()
                },
            }
            for clip in result.clips
        ],
        "not_measured": dict(result.missing),
        "failed": [{"clip": clip, "method": method, "why": why} for clip, method, why in result.failed],
        "notes": list(result.notes),
    }


def _interval(one: Interval) -> dict[str, float | int | None]:
    return {"mean": _number(one.mean), "low": _number(one.low), "high": _number(one.high), "clips": one.clips}


def _values(values: Tensor) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
