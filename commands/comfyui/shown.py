"""Numbers that nodes show, such as the ego prior's coverage, also for clips that a server took from its cache.

ComfyUI does not visit a node whose result is cached, so its numbers are missing from the history of every clip but the
first that shares the result. They are a function of the node and of all that it is computed from, and kept by that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .answers import is_number
from .graph import Graph, is_link

# Pictures' names and long texts are no numbers; more of them than a long clip has frames are not kept.
_LONGEST = 5000


def shown_numbers(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return the lists of numbers in a history's outputs, by node and name."""
    found: dict[str, dict[str, list[float]]] = {}
    for number, shown in outputs.items():
        for name, values in shown.items():
            numbers = isinstance(values, list) and all(map(is_number, values))
            if numbers and 0 < len(values) <= _LONGEST:
                found.setdefault(number, {})[name] = values
    return found


def result_keys(graph: Graph) -> dict[str, str]:
    """Return for each node a key of itself and all that it is computed from: equal keys, equal results."""
    keys: dict[str, str] = {}

    def key(number: str) -> str:
        if number not in keys:
            keys[number] = number  # for a circle, or a link to nothing: no server runs them, but it may tell of one
            if (node := graph.get(number)) is None:
                return number
            inputs = {
                name: [key(value[0]), value[1]] if is_link(value) else value for name, value in node["inputs"].items()
            }
            text = json.dumps([node["class_type"], inputs, node.get("is_changed")], sort_keys=True)
            keys[number] = hashlib.sha256(text.encode()).hexdigest()
        return keys[number]

    for number in graph:
        key(number)
    return keys
