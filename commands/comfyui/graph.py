"""A workflow in ComfyUI's API format: its nodes by title, and the inputs that a manifest may set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .errors import WorkflowError
from .known_nodes import SHORT_NAMES

Graph = dict[str, dict[str, Any]]
Target = tuple[str, str]  # a node's number, and an input of it
# What `/object_info` says, by node type.
NodeInfo = Mapping[str, Mapping[str, Any]]

PREFIX = "filename_prefix"


@dataclass(frozen=True)
class Workflow:
    """An API-format graph.

    Attributes:
        graph: the nodes by number.
        source: the file, for messages.
    """

    graph: Graph
    source: str

    def title(self, number: str) -> str:
        """Return a node's title, or its type."""
        return title_of(self.graph, number)

    def titled(self, numbers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return values by node and name as values by `Title.name`."""
        return {f"{self.title(node)}.{name}": value for node in numbers for name, value in numbers[node].items()}

    def save_nodes(self) -> dict[str, str]:
        """Return the prefix of each node that names its files by one."""
        found = {number: node["inputs"].get(PREFIX) for number, node in self.graph.items()}
        return {number: prefix for number, prefix in found.items() if isinstance(prefix, str)}

    def types(self) -> set[str]:
        """Return the types of the nodes."""
        return {node["class_type"] for node in self.graph.values()}

    def target(self, column: str, info: NodeInfo | None = None) -> Target:
        """Find the input that a column means: `Title.input`, `number.input`, a short name, or an input's name alone.

        Args:
            column: the column's name.
            info: what a server says of its node types; then inputs that the workflow leaves out count too.

        Raises:
            WorkflowError: if there is none, or several; the message names the nearest.
        """
        if "." in column:
            return self._titled(column, info)
        if column in SHORT_NAMES and (found := self._short(*SHORT_NAMES[column])):
            return self._only(column, found)
        return self._only(column, [target for target in self._literals() if target[1] == column])

    def _titled(self, column: str, info: NodeInfo | None) -> Target:
        for place in (place for place in range(len(column) - 1, -1, -1) if column[place] == "."):
            title, name = column[:place], column[place + 1 :]
            numbers = [number for number in self.graph if self.title(number) == title or number == title]
            if len(numbers) > 1:
                raise WorkflowError(
                    f"The column {column!r} is ambiguous: the nodes {', '.join(numbers)} are all titled {title!r}. "
                    f"Name one by its number ({numbers[0]}.{name}), or give them titles of their own."
                )
            if numbers and name in self._inputs(numbers[0], info):
                return numbers[0], name
        raise self._unknown(column, info)

    def _short(self, kinds: tuple[str, ...], title: str | None, name: str) -> list[Target]:
        found = [number for number, node in self.graph.items() if node["class_type"] in kinds]
        if title is not None and len(found) > 1:
            found = [number for number in found if self.title(number) == title]
        return [(number, name) for number in found]

    def _only(self, column: str, found: list[Target]) -> Target:
        if len(found) == 1:
            return found[0]
        if not found:
            raise self._unknown(column, None)
        names = ", ".join(f"{self.title(number)}.{name}" for number, name in found)
        raise WorkflowError(f"The column {column!r} is ambiguous: it may mean {names}. Write one of these.")

    def _inputs(self, number: str, info: NodeInfo | None) -> set[str]:
        node = self.graph[number]
        declared = (info or {}).get(node["class_type"], {}).get("input", {})
        return {*node["inputs"], *declared.get("required", {}), *declared.get("optional", {})}

    def _literals(self) -> list[Target]:
        return [
            (number, name)
            for number, node in self.graph.items()
            for name, value in node["inputs"].items()
            if not is_link(value)
        ]

    def _unknown(self, column: str, info: NodeInfo | None) -> WorkflowError:
        known = [f"{self.title(number)}.{name}" for number in self.graph for name in self._inputs(number, info)]
        known += [short for short, rule in SHORT_NAMES.items() if self._short(*rule)]
        near = nearest(column, known) or nearest(column.rpartition(".")[2], [name for _, name in self._literals()])
        return WorkflowError(
            f"No input of {self.source} is called {column!r}. "
            + (f"Nearest: {', '.join(near)}. " if near else "")
            + "Columns are Title.input, as the nodes are titled in the workflow."
        )


def load_workflow(path: Path) -> Workflow:
    """Read a workflow in API format.

    Raises:
        WorkflowError: if it is missing, no JSON, or saved in the editor's own format.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkflowError(f"The workflow {path} cannot be read: {error}.") from error
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        raise WorkflowError(
            f"{path} is in the editor's format. Save it with Workflow > Export (API) and give that file."
        )
    nodes = graph.values() if isinstance(graph, dict) else ()
    if not nodes or not all(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in nodes):
        raise WorkflowError(f"{path} is not a workflow in API format: expected nodes with class_type and inputs.")
    return Workflow(graph, str(path))


def is_link(value: Any) -> bool:
    """Return whether an input's value is another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def title_of(graph: Mapping[str, Mapping[str, Any]], number: str) -> str:
    """Return a node's title, or its type, or its number where the graph has no such node."""
    node = graph.get(number)
    return number if node is None else node.get("_meta", {}).get("title") or node["class_type"]


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names that are most like one, best first; upper and lower case count as one."""
    lowered = {other.lower(): other for other in known}
    return [lowered[match] for match in get_close_matches(name.lower(), lowered, count, cutoff=0.55)]
