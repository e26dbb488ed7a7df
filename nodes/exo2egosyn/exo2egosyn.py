"""Exo2EgoSyn on Wan 2.2: load the trained components and put them on the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...geometry.plucker import PluckerMaps
from ...networks.components.metadata import Component
from ...networks.components.set import SynComponents, guidance_note, read_components
from ...networks.weights.wan_kinds import Expert, expert_of
from ...wan.exo2egosyn.apply import apply_exo2egosyn
from ...wan.exo2egosyn.checks import pose_notes
from ...wan.exo2egosyn.views import ExoViews
from ...wan.exo2egosyn.weights import range_notes
from ...wan.shared.base_model import files_upstream, own_file
from ..common.progress import show_text, warn
from ..common.schema import schema
from ..common.sockets import ExoViewsSocket, PluckerSocket, SynSocket
from .component_choice import FOLDER, NONE, ComponentFile, component_path, is_chosen

_PARTS = {
    Component.ALIGN: "EgoExo-Align: predicts the first ego frame.",
    Component.MULTIEXOCON: "MultiExoCon: lets every block see the exo videos instead of text.",
    Component.POSEINJ: "PoseInj: gives the model the ego camera's path.",
    Component.LORA: "The self-attention LoRA of the latest stage: with PoseInj that of stage 2, which continues stage "
    "1's. Also from models/loras.",
    Component.VAWAN: "The paper's baseline, which joins the exo videos as input channels and, where its file has them, "
    "reads camera poses (AC3D, Time&Pose): instead of MultiExoCon and LoRA.",
}
_FOLDERS = {component: (FOLDER,) for component in Component} | {Component.LORA: (FOLDER, "loras")}


class Exo2EgoSynLoader(io.ComfyNode):
    """Reads the trained components."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoSynLoader",
            "Exo2EgoSyn Loader",
            "exo2egosyn",
            "Reads the trained components of Exo2EgoSyn, one file each, from models/exo2egosyn. What is not chosen "
            "stays neutral: the model then does what Wan 2.2 does.",
            search_aliases=["exo2egosyn checkpoint", "multiexocon", "poseinj", "egoexo-align", "vawan"],
            inputs=[
                ComponentFile(
                    component.value,
                    _FOLDERS[component],
                    tooltip=f"{what} Of a file in shards choose the first. {NONE.capitalize()} leaves it out.",
                )
                for component, what in _PARTS.items()
            ],
            outputs=[
                SynSocket.Output("components", display_name="components", tooltip="For EgoExo-Align Predict and Apply.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, **names: str) -> io.NodeOutput:
        components = read_components(_paths(names))
        notes = components.notes()
        for note in notes:
            warn(cls, note)
        show_text(cls, components.describe())
        return io.NodeOutput(components)


class Exo2EgoSynApply(io.ComfyNode):
    """The trained components on the model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoSynApply",
            "Exo2EgoSyn Apply",
            "exo2egosyn",
            "Puts Exo2EgoSyn's components on Wan 2.2 I2V A14B: exo tokens in every block's cross-attention, the ego "
            "camera's path before the first block, and the LoRA. Everything is a model patch, so fp8 and GGUF base "
            "models work.",
            search_aliases=["exo2egosyn model patch", "multiexocon", "poseinj", "vawan"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan 2.2 I2V A14B, the low-noise expert, from any loader. Other patches may come before "
                    "or after.",
                ),
                SynSocket.Input("components", tooltip="From Exo2EgoSyn Loader."),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=-2.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Strength of the self-attention LoRA: 1 as trained; 0 switches it off.",
                ),
                ExoViewsSocket.Input(
                    "views", optional=True, tooltip="From Multi Exo Tokens. MultiExoCon and VAWAN need them."
                ),
                PluckerSocket.Input(
                    "plucker",
                    optional=True,
                    tooltip="From Pluecker Maps, relative to exo camera 1, for every frame. PoseInj needs them, and a "
                    "VAWAN with camera conditioning.",
                ),
            ],
            outputs=[io.Model.Output("syn_model", display_name="model")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        components: SynComponents,
        lora_strength: float,
        views: ExoViews | None = None,
        plucker: PluckerMaps | None = None,
    ) -> io.NodeOutput:
        files = files_upstream(cls.hidden.prompt or {}, str(cls.hidden.unique_id))
        patched = apply_exo2egosyn(model, components, views, plucker, lora_strength, files)
        notes = [*range_notes(model, components), *pose_notes(components, plucker)]
        for note in notes:
            warn(cls, note)
        show_text(cls, _applied(components, views, (*files, *own_file(model))))
        return io.NodeOutput(patched)


def _paths(names: dict[str, str | None]) -> dict[Component, Path]:
    """Return the chosen files by component, from the values of the inputs that bear the components' names."""
    chosen = {component: names.get(component.value) for component in Component}
    return {
        component: component_path(name, _FOLDERS[component]) for component, name in chosen.items() if is_chosen(name)
    }


def _applied(components: SynComponents, views: ExoViews | None, files: tuple[str, ...]) -> str:
    """Return what the model now has, and how sure its expert is."""
    on_model = [component.value for component in components.parts if component is not Component.ALIGN]
    lines = [f"On the model: {', '.join(on_model)}." if on_model else "Nothing to apply: Wan 2.2 as it is."]
    if views is not None and components.needs_views:
        lines.append(f"{views.describe()}.")
    reasons = [reason for part in components.parts.values() if (reason := guidance_note(part)) is not None]
    lines += [f"Sample with CFG 1: {reason}." for reason in reasons]
    if any(expert_of(file) is Expert.LOW_NOISE for file in files):
        lines.append("Low-noise expert, by its file's name.")
    else:
        lines.append("The file name does not show which expert this is; check that it is the low-noise one.")
    return "\n".join(lines)


NODES = [Exo2EgoSynLoader, Exo2EgoSynApply]
