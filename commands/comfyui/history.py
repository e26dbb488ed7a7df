"""What a server's history and its refusals say of a prompt, in words and in shapes that can be relied on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...common.safe_text import visible
from .answers import Each, Maybe, fits, texts
from .errors import ComfyError, ExecutionFailedError, ExecutionInterruptedError
from .graph import Graph, title_of

# What an entry must be to be read; the rest of it is looked at piece by piece.
ENTRY = {
    "outputs": Maybe(Each(dict)),
    "status": Maybe({"status_str": Maybe(str), "messages": Maybe(list)}),
}
_NODE = {"class_type": str, "inputs": dict, "_meta": Maybe({"title": Maybe(str)})}


@dataclass(frozen=True)
class Ended:
    """How a prompt ended, from the server's history.

    Attributes:
        error: what failed, for people; `None` for a success.
        outputs: what each node showed, by its number.
        graph: what ran, as the server has it; empty where that cannot be read.
    """

    error: ComfyError | None
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    graph: Graph = field(default_factory=dict)


def ended_of(entry: Mapping[str, Any], graph: Graph) -> Ended:
    """Read an entry of the shape ENTRY; `graph` gives the titles."""
    return Ended(_error_of(entry.get("status") or {}, graph), entry.get("outputs") or {}, _graph_of(entry))


def describe_rejection(answer: Any, graph: Graph) -> str:
    """Turn ComfyUI's answer to a wrong graph into lines that name node, input and reason."""
    answer = answer if isinstance(answer, dict) else {}
    error = answer.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    lines = [f"ComfyUI rejected the graph. {said or ''}".rstrip()]
    nodes = answer.get("node_errors")
    for number, problems in nodes.items() if isinstance(nodes, dict) else ():
        title = title_of(graph, number)
        found = problems.get("errors") if isinstance(problems, dict) else None
        for problem in found if isinstance(found, list) else ():
            lines.append(f"- {title!r}{_problem(problem)}")
    if len(lines) == 1 and isinstance(error, dict) and error.get("details"):
        lines.append(str(error["details"]))
    return visible("\n".join(lines))


def _problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return f": {problem}"
    extra = problem.get("extra_info")
    where = extra.get("input_name") if isinstance(extra, dict) else None
    about = f", input {where!r}" if where else ""
    return f"{about}: {problem.get('message', 'unknown')}: {problem.get('details', '')}"


def _graph_of(entry: Mapping[str, Any]) -> Graph:
    prompt = entry.get("prompt")  # [number, id, graph, ...]
    graph = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 else None
    return graph if fits(graph, Each(_NODE)) else {}


def _error_of(status: Mapping[str, Any], graph: Graph) -> ComfyError | None:
    for message in status.get("messages") or ():
        kind, data = message if isinstance(message, list) and len(message) == 2 else (None, None)
        data = data if isinstance(data, dict) else {}
        title = title_of(graph, str(data.get("node_id")))
        if kind == "execution_error":
            trace = data.get("traceback")
            lines = "".join(texts(trace)) if isinstance(trace, list) else ""
            exception, reason = (data.get(f"exception_{part}") for part in ("type", "message"))
            return ExecutionFailedError(
                title, visible(str(exception or "an error")), visible(str(reason or "without a reason")), visible(lines)
            )
        if kind == "execution_interrupted":
            return ExecutionInterruptedError(f"It was interrupted in the node {title!r}.")
    said = status.get("status_str") or "success"
    return None if said == "success" else ComfyError(f"It ended as {visible(said)!r}.")
