"""Which models the shipped workflows load: read from their API graphs, so that there is no second list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...common.paths import files_in
from ...networks.pocket_files import FILE_NAMES
from ...networks.weights.shards import without_shard
from ...networks.weights.wan_kinds import WAN21_I2V, WAN22_I2V
from ..comfyui.known_nodes import MODEL_INPUTS
from .findings import Finding, Severity
from .known_models import KNOWN, KnownModel

NONE = "none"

# The base model that a node asks for.
_BASE_OF = {"Exo2EgoEgoXLoader": WAN21_I2V, "Exo2EgoSynApply": WAN22_I2V}
_OURS = "Exo2Ego"


@dataclass(frozen=True)
class Wanted:
    """A model that shipped workflows load.

    Attributes:
        file: the name in the loader.
        folders: ComfyUI's folders for it, the best first.
        node: class of the loader.
        name: its input.
        title: the loader's title in the workflows.
        base: which base model the workflows need, where this is one.
        workflows: their names.
    """

    file: str
    folders: tuple[str, ...]
    node: str
    name: str
    title: str
    base: str | None
    workflows: tuple[str, ...]

    @property
    def known(self) -> KnownModel:
        """Its size and source."""
        return KNOWN[without_shard(self.file)]

    @property
    def is_ours(self) -> bool:
        """Whether only this pack loads such a file: where one lies, somebody uses the workflow."""
        return is_ours(self.node)

    @property
    def is_stock_lora(self) -> bool:
        """Whether it is a LoRA for ComfyUI's own loader, which takes what it knows and names the rest in the log."""
        return self.folders == ("loras",) and not self.is_ours

    @property
    def needs_low_noise(self) -> bool:
        """Whether it is one of Wan 2.2's two experts."""
        return self.base == WAN22_I2V

    @property
    def component(self) -> str | None:
        """Which part of Exo2EgoSyn it is."""
        return self.name if self.node == "Exo2EgoSynLoader" else None


@dataclass(frozen=True)
class Workflows:
    """The shipped workflows.

    Attributes:
        names: of all.
        nodes: classes of nodes, by workflow.
        wanted: the models that they load.
        findings: what is wrong with their files; such a workflow is not among the names.
    """

    names: tuple[str, ...]
    nodes: dict[str, set[str]]
    wanted: list[Wanted]
    findings: list[Finding] = field(default_factory=list)

    def of(self, name: str) -> list[Wanted]:
        """Return the models of a workflow."""
        return [wanted for wanted in self.wanted if name in wanted.workflows]

    def only(self, names: Sequence[str]) -> list[Wanted]:
        """Return the models of some workflows, each with those alone."""
        kept = [
            replace(wanted, workflows=tuple(name for name in wanted.workflows if name in names))
            for wanted in self.wanted
        ]
        return [wanted for wanted in kept if wanted.workflows]


def shipped_workflows(pack: Path) -> Workflows:
    """Read the API graphs of the pack."""
    folder = pack / "workflows" / "api"
    nodes: dict[str, set[str]] = {}
    found: dict[tuple[str, str, str], Wanted] = {}
    findings = []
    for path in files_in(folder, "*.json"):
        try:
            graph = json.loads(path.read_text(encoding="utf-8"))
            models = _models(path.stem, graph)
            classes = {str(node["class_type"]) for node in graph.values()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            findings.append(_broken(f"{path} cannot be used ({error or type(error).__name__})"))
            continue
        nodes[path.stem] = classes
        for key, model in models.items():
            before = found[key].workflows if key in found else ()
            found[key] = replace(model, workflows=(*before, path.stem))
    if not nodes:
        findings.append(_broken(f"{folder} holds no workflow that can be read, so no model was checked"))
    return Workflows(tuple(nodes), nodes, list(found.values()), findings)


def _models(workflow: str, graph: dict[str, dict[str, Any]]) -> dict[tuple[str, str, str], Wanted]:
    """Return the models that a graph loads, by class of the loader, input and file.

    Raises:
        LookupError, TypeError, AttributeError: if it is not a graph in API format, or names a model that is not known.
    """
    found: dict[tuple[str, str, str], Wanted] = {}
    bases = [_BASE_OF[node["class_type"]] for node in graph.values() if node["class_type"] in _BASE_OF]
    for node in graph.values():
        for name, value in node["inputs"].items():
            folders = MODEL_INPUTS.get((node["class_type"], name))
            if folders is None or value == NONE or not isinstance(value, str) or value in FILE_NAMES:
                continue  # the pack's own pocket files have to be found and loaded by nobody
            base = bases[0] if folders == ("diffusion_models",) else None
            title = str(node["_meta"]["title"])
            wanted = Wanted(value, folders, node["class_type"], name, title, base, (workflow,))
            if without_shard(value) not in KNOWN:
                raise LookupError(f"it loads {value}, which no shipped workflow does")
            found[node["class_type"], name, value] = wanted
    return found


def _broken(found: str) -> Finding:
    return Finding(
        "workflows",
        Severity.ERROR,
        found,
        "the workflows in API format that this pack ships",
        "Put the pack's folder there anew: git checkout -- workflows, or install it again.",
    )


def is_ours(node: str) -> bool:
    """Whether a class of nodes is of this pack."""
    return node.startswith(_OURS)
