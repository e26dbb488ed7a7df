"""A websocket's messages: hints that it is worth to look, and where a run stands.

Any pack may send any message, also under the names that ComfyUI uses. What decides stands in the history alone, so
nothing in a message may raise: what cannot be read is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...common.safe_text import one_line
from .answers import is_number
from .graph import title_of

CONNECTED = "connected"  # ours: the socket is open
_BEGUN = ("execution_start", "executing", "progress")
_LAST = ("execution_success", "execution_error", "execution_interrupted")
_LONGEST = 200


@dataclass(frozen=True)
class Hint:
    """What a message says of a run.

    Attributes:
        kind: the message's type, or CONNECTED.
        prompt_id: the run; `None` where the message is of none.
        node: the number of the node that is executed.
        steps: done, and of how many; a message of another kind has none.
        ended: whether it is the run's last.
    """

    kind: str
    prompt_id: str | None = None
    node: str | None = None
    steps: tuple[float, float] | None = None
    ended: bool = False

    @property
    def begun(self) -> bool:
        """Whether the run is being executed."""
        return self.kind in _BEGUN

    def place(self, graph: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        """Return the `node` by its title, and `step` and `steps` where they are told; `None` if nothing is."""
        if self.node is None or self.kind not in ("executing", "progress"):
            return None
        told = {} if self.steps is None else {"step": self.steps[0], "steps": self.steps[1]}
        return {"node": one_line(title_of(graph, self.node))[:_LONGEST], **told}


def read_hint(text: str | bytes) -> Hint | None:
    """Read a text message; `None` where it is none of ComfyUI's."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    kind, data = message["type"], message.get("data")
    if not isinstance(data, dict):
        return Hint(kind)
    prompt_id, node = data.get("prompt_id"), data.get("node")
    steps = (data.get("value"), data.get("max")) if kind == "progress" else ()
    return Hint(
        kind,
        prompt_id if isinstance(prompt_id, str) else None,
        node if isinstance(node, str) else None,
        (steps[0], steps[1]) if steps and all(map(is_number, steps)) else None,
        # `executing` without a node comes once the history has the run, success or not.
        ended=kind in _LAST or (kind == "executing" and "node" in data and node is None),
    )
