"""Turn a manifest's rows into jobs: values for the workflow's inputs, files to send, and what is wrong with a row."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..comfyui.errors import WorkflowError
from ..comfyui.graph import PREFIX, Graph, NodeInfo, Target, Workflow, is_link
from ..comfyui.known_nodes import file_input
from .errors import BatchError, ClipError
from .manifest import Manifest, Row
from .names import key_of, slug
from .sources import ON_SERVER, SERVER_FOLDER, Here, Source, source_of

_SEEDS = ("seed", "noise_seed")
_LONGEST_VALUE = 1_000_000  # characters; a prompt has some thousand
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Job:
    """One clip, ready to be queued but for its uploads.

    Attributes:
        name: the clip's name.
        where: its place in the manifest.
        values: what its row sets.
        sources: files to send, by the input that names them.
        digest: of all that decides its result here: workflow, values and paths.
        seed: the seed that its row or the workflow sets, for the journal.
        problem: why it cannot run, or `None`.
    """

    name: str
    where: str
    values: Mapping[Target, Any]
    sources: Mapping[Target, Source]
    digest: str
    seed: int | None = None
    problem: str | None = None


@dataclass
class Plan:
    """All jobs of a manifest over a workflow."""

    workflow: Workflow
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bases = _save_names(self.workflow)

    def graph(self, job: Job, placed: Mapping[Target, str]) -> Graph:
        """Return the graph of one job, with uploads' names in place and outputs under the clip's own prefix.

        Equal for equal rows whatever the run: what ComfyUI writes into its files of it is equal too.
        """
        graph = copy.deepcopy(self.workflow.graph)
        for (number, name), value in {**job.values, **placed}.items():
            graph[number]["inputs"][name] = value
        for (number, _), value in placed.items():
            # The content is in the name. ComfyUI would else put the server's path and the file's time here, and so
            # into every output, and compute a file anew that was sent twice.
            graph[number].setdefault("is_changed", []).append(value)
        for number, base in self.bases.items():
            graph[number]["inputs"][PREFIX] = f"{SERVER_FOLDER}/{key_of(job.name)}/{base}"
        return graph


def make_plan(workflow: Workflow, manifest: Manifest, info: NodeInfo | None = None) -> Plan:
    """Map every row's columns to inputs.

    Missing files and values of a wrong kind are the row's own problem; wrong columns are everybody's.

    Args:
        workflow: the graph that every clip runs.
        manifest: the rows.
        info: what a server says of its node types; then numbers and choices are checked too.

    Raises:
        BatchError: if a column means no input, or several, or if the workflow saves nothing.
    """
    plan = Plan(workflow)
    if not plan.bases:
        raise BatchError(f"{workflow.source} saves nothing: it has no node with a {PREFIX}.")
    targets: dict[str, Target] = {}
    base = _digest(workflow.graph)
    default_seed = _seed(workflow, {})
    for row in manifest.rows:
        for column in row.values:
            if column not in targets:
                targets[column] = _target(workflow, manifest, row, column, info)
        here = Here(manifest.folder, manifest.root)
        plan.jobs.append(_job(plan, here, row, targets, base, default_seed, info))
    return plan


def _target(workflow: Workflow, manifest: Manifest, row: Row, column: str, info: NodeInfo | None) -> Target:
    try:
        target = workflow.target(column, info)
    except WorkflowError as error:
        raise BatchError(f"{manifest.source}, {row.where}: {error}") from None
    if target[1] == PREFIX:
        raise BatchError(
            f"{manifest.source}, {row.where}: the column {column!r} is refused: the batch "
            "decides where outputs go. Name the clip with the column 'name'."
        )
    return target


def _job(
    plan: Plan,
    here: Here,
    row: Row,
    targets: Mapping[str, Target],
    base: str,
    default_seed: int | None,
    info: NodeInfo | None,
) -> Job:
    values: dict[Target, Any] = {}
    sources: dict[Target, Source] = {}
    problems = []
    for column, given in row.values.items():
        target = targets[column]
        if target in values or target in sources:
            raise BatchError(f"{row.where}: two columns set the same input; {column!r} is one of them.")
        node = plan.workflow.graph[target[0]]
        declared = _declared(info, node, target[1])
        try:
            _check_text(given)
            source = source_of(given, file_input(node["class_type"], target[1], declared), here)
            if source is not None:
                sources[target] = source
            else:
                values[target] = _value(given, node["inputs"].get(target[1]), declared, row)
        except ClipError as error:
            values[target] = given
            problems.append(f"{column}: {error}")
    row_digest = _digest([base, sorted(row.values.items(), key=lambda item: item[0])])
    seed = _seed(plan.workflow, values)
    seed = default_seed if seed is None else seed
    return Job(row.name, row.where, values, sources, row_digest, seed, "; ".join(problems) or None)


def _check_text(given: Any) -> None:
    """Refuse text that no server takes."""
    text = given if isinstance(given, str) else json.dumps(given)
    if len(text) > _LONGEST_VALUE:
        raise ClipError(f"expected at most {_LONGEST_VALUE:,} characters, got {len(text):,}.")
    if unpaired := next((letter for letter in text if unicodedata.category(letter) == "Cs"), None):
        raise ClipError(
            f"it contains \\u{ord(unpaired):04x}, half of a pair of surrogates, which is not a character. Write the "
            "file as UTF-8 again."
        )


def _declared(info: NodeInfo | None, node: Mapping[str, Any], name: str) -> list[Any] | None:
    """Return a server's [type, options] of an input."""
    groups = (info or {}).get(node["class_type"], {}).get("input", {})
    return next((group[name] for group in groups.values() if isinstance(group, dict) and name in group), None)


def _value(given: Any, default: Any, declared: list[Any] | None, row: Row) -> Any:
    """Turn a cell into the input's own type, and check it as far as the server's list of inputs allows."""
    if isinstance(given, str) and given.startswith(ON_SERVER):
        return given.removeprefix(ON_SERVER)
    if isinstance(given, (list, dict)):
        raise ClipError(f"expected a text, a number or true/false, got {json.dumps(given)[:60]}.")
    kind = _kind(default, declared)
    value = _from_text(given, kind) if row.is_text else given
    if kind in ("INT", "FLOAT") and not _is_number(value, whole=kind == "INT"):
        raise ClipError(f"expected a {'whole ' if kind == 'INT' else ''}number, got {given!r}.")
    if kind == "BOOLEAN" and not isinstance(value, bool):
        raise ClipError(f"expected true or false, got {given!r}.")
    if kind == "STRING" and not isinstance(value, str):
        raise ClipError(f"expected a text, got {given!r}.")
    _check_declared(value, declared)
    return value


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, float):
        return value.is_integer() if whole else math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(default: Any, declared: list[Any] | None) -> str | None:
    """Return INT, FLOAT, BOOLEAN or STRING; `None` where it cannot be told."""
    if declared and isinstance(declared[0], str) and declared[0] in ("INT", "FLOAT", "BOOLEAN", "STRING"):
        return declared[0]
    if default is None or is_link(default) or (declared and declared[0] not in ("INT", "FLOAT")):
        return None
    if isinstance(default, bool):
        return "BOOLEAN"
    # A whole number in the workflow may stand in an input of broken ones, which only a server knows.
    return "FLOAT" if isinstance(default, (int, float)) else None


def _from_text(text: str, kind: str | None) -> Any:
    """Read a cell of a CSV."""
    lowered = text.strip().lower()
    if kind == "BOOLEAN" and lowered in _TRUE + _FALSE:
        return lowered in _TRUE
    if kind in ("INT", "FLOAT"):
        for read in (int, float):
            try:
                return read(lowered)
            except ValueError:
                pass
    return text


def _check_declared(value: Any, declared: list[Any] | None) -> None:
    if not declared:
        return
    kind, options = declared[0], declared[1] if len(declared) > 1 and isinstance(declared[1], dict) else {}
    if kind in ("INT", "FLOAT"):
        low, high = options.get("min"), options.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            raise ClipError(f"expected {low} to {high}, got {value}.")
    choices = kind if isinstance(kind, list) else options.get("options") if kind == "COMBO" else None
    uploads = any(name.endswith("_upload") for name in options)
    if isinstance(choices, list) and choices and value not in choices and not uploads:
        shown = ", ".join(map(str, choices[:12])) + (", ..." if len(choices) > 12 else "")
        raise ClipError(f"expected one of: {shown}; got {value!r}.")


def _seed(workflow: Workflow, values: Mapping[Target, Any]) -> int | None:
    """Return the first seed among given values, or without any among the workflow's own."""
    if values:
        return next((value for (_, name), value in values.items() if name in _SEEDS and isinstance(value, int)), None)
    found = (node["inputs"].get(name) for node in workflow.graph.values() for name in _SEEDS)
    return next((value for value in found if isinstance(value, int)), None)


def _save_names(workflow: Workflow) -> dict[str, str]:
    """Return the file name of each saving node: the end of its prefix, made unique."""
    names: dict[str, str] = {}
    for number, prefix in workflow.save_nodes().items():
        base = slug(prefix.replace("\\", "/").rpartition("/")[2]) or "output"
        taken = {name.lower() for name in names.values()}  # on some disks Ego is ego
        names[number] = base if base.lower() not in taken else f"{base}_{slug(number)}"
    return names


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
