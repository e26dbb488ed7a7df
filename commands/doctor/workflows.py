"""Which models the shipped workflows load: read from their API graphs, so that there is no second list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...networks.weights.shards import without_shard
from ...networks.weights.wan_kinds import WAN21_I2V, WAN22_I2V
from ..comfyui.known_nodes import MODEL_INPUTS
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
    """

    names: tuple[str, ...]
    nodes: dict[str, set[str]]
    wanted: list[Wanted]

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
    graphs = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((pack / "workflows" / "api").glob("*.json"))
    }
    found: dict[tuple[str, str, str], Wanted] = {}
    for workflow, graph in graphs.items():
        bases = [_BASE_OF[node["class_type"]] for node in graph.values() if node["class_type"] in _BASE_OF]
        for node in graph.values():
            for name, value in node["inputs"].items():
                folders = MODEL_INPUTS.get((node["class_type"], name))
                if folders is None or value == NONE:
                    continue
                key = (node["class_type"], name, value)
                before = found[key].workflows if key in found else ()
                base = bases[0] if folders == ("diffusion_models",) else None
                found[key] = Wanted(
                    value, folders, node["class_type"], name, node["_meta"]["title"], base, (*before, workflow)
                )
    nodes = {name: {node["class_type"] for node in graph.values()} for name, graph in graphs.items()}
    return Workflows(tuple(graphs), nodes, list(found.values()))


def is_ours(node: str) -> bool:
    """Whether a class of nodes is of this pack."""
    return node.startswith(_OURS)
