"""Geometry-guided attention (paper section 3.3) as a node."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from comfy_api.latest import io

from ...attention.bias import RELEASE_STRENGTH, GGAForm
from ...attention.choice import AUTO, BACKEND_VARIABLE, BACKENDS, CHOICES
from ...geometry.cameras.camera import Camera
from ...geometry.depth.depth import Depth
from ...geometry.directions.clip import ClipGeometry
from ...geometry.directions.directions import GGAGeometry
from ...wan.egox.apply import applied_egox
from ...wan.egox.gga import apply_matched_gga, without_gga
from ...wan.egox.gga_settings import GGASettings, Guidance
from ...wan.egox.match import Match, matched
from ...wan.egox.trained import differences_of
from ...wan.shared.base_model import require_wan21_i2v
from ..common.progress import show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, DepthSocket

_AS_MATCHED = "as matched"
_GEOMETRIES = [_AS_MATCHED, *(geometry.value for geometry in GGAGeometry)]
_FORMS = [form.value for form in GGAForm]
_GUIDANCES = _ON, _OFF = ["on", "off (ablation)"]
_LAST_BLOCK = -1
_MAX_BLOCK = 999


class Exo2EgoGGA(io.ComfyNode):
    """Geometry-guided attention."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoGGA",
            "Geometry-Guided Attention",
            "egox",
            "Lets every ego token look first at the exo tokens that lie in its own direction in space (paper section "
            "3.3).",
            search_aliases=["GGA", "geometry guided attention", "egox attention"],
            inputs=[
                io.Model.Input("model", tooltip="Before or after EgoX Apply."),
                CameraSocket.Input("exo_camera", tooltip="The exo camera, as for the point cloud."),
                DepthSocket.Input("depth", tooltip="The exo clip's metric depth, as for the point cloud."),
                CameraSocket.Input("ego_camera", tooltip="The ego camera, as for the ego prior."),
                io.Combo.Input(
                    "form",
                    options=_FORMS,
                    default=GGAForm.RELEASE.value,
                    tooltip="release: positive cosines times lambda, plus 1, as the released code computes it and its "
                    "LoRA expects. paper: (cosine + 1) times lambda, Eq. 4 and 5.",
                ),
                io.Float.Input(
                    "strength",
                    display_name="lambda",
                    default=RELEASE_STRENGTH,
                    min=0.01,
                    max=100.0,
                    step=0.1,
                    tooltip="lambda: 3 in the released inference scripts, 1 in training. Counts where a geometry is "
                    "named; with geometry 'as matched' it is 3 or 1, following EgoX Conditioning's match.",
                ),
                io.Combo.Input(
                    "geometry",
                    options=_GEOMETRIES,
                    default=_AS_MATCHED,
                    tooltip="as matched: geometry and lambda follow EgoX Conditioning's match. as released: the "
                    "released inference code exactly, with a lens that is about 10 degrees off; its published "
                    "results were made this way. as trained: what the training code computes; a reproduction got "
                    "better results with it. physical: the right lens and unit directions, for LoRAs trained on it. "
                    "paper average: directions averaged over 4x16x16 pixels (section F.1).",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where in the sampling GGA begins.",
                ),
                io.Float.Input(
                    "end_percent", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="Where in the sampling GGA ends."
                ),
                io.Int.Input(
                    "first_block", default=0, min=0, max=_MAX_BLOCK, tooltip="First transformer block with GGA."
                ),
                io.Int.Input(
                    "last_block",
                    default=_LAST_BLOCK,
                    min=_LAST_BLOCK,
                    max=_MAX_BLOCK,
                    tooltip="Last transformer block with GGA; -1 is the model's last.",
                ),
                io.Combo.Input(
                    "backend",
                    options=list(CHOICES),
                    default=AUTO,
                    optional=True,
                    tooltip=f"Who computes the guided attention. {AUTO}: the fastest that the machine has, named in "
                    f"the log. {' '.join(f'{name}: {backend.hint}.' for name, backend in BACKENDS.items())} The "
                    f"environment variable {BACKEND_VARIABLE} decides where this is {AUTO}.",
                ),
                io.Combo.Input(
                    "guidance",
                    options=_GUIDANCES,
                    default=_ON,
                    optional=True,
                    tooltip="off (ablation): the model runs without GGA, to see what it does. The weights were trained "
                    "as they are; this changes inference alone.",
                ),
            ],
            outputs=[io.Model.Output("gga_model", display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        exo_camera: Camera,
        depth: Depth,
        ego_camera: Camera,
        form: str,
        strength: float,
        geometry: str,
        start_percent: float,
        end_percent: float,
        first_block: int,
        last_block: int,
        backend: str = AUTO,
        guidance: str = _ON,
    ) -> io.NodeOutput:
        if guidance == _OFF:
            require_wan21_i2v(model)
            show_text(cls, "GGA is OFF (ablation).")
            return io.NodeOutput(without_gga(model))
        clip = ClipGeometry(exo_camera, depth, ego_camera)
        guidances = {}
        for match in Match:
            if geometry == _AS_MATCHED:
                kind, factor, source = matched(match).geometry, matched(match).strength, f"by {match.value}"
            else:
                kind, factor, source = GGAGeometry(geometry), strength, "set here"
            settings = GGASettings(
                form=GGAForm(form),
                strength=factor,
                start_percent=start_percent,
                end_percent=end_percent,
                first_block=first_block,
                last_block=last_block,
                backend=backend,
            )
            text = f"geometry {kind.value}, lambda {factor:g} ({source}), form {form}."
            if strength not in (factor, RELEASE_STRENGTH):
                text += f" The node's lambda {strength:g} is not used: name a geometry to set it."
            guidances[match] = Guidance(replace(clip, kind=kind), settings, text)

        patched = apply_matched_gga(model, guidances, report=partial(show_text, cls))
        egox = applied_egox(model)
        if geometry != _AS_MATCHED:
            text = guidances[Match.INFERENCE].text
        elif egox is not None:
            text = guidances[egox.settings.match].text
        else:
            text = "Geometry and lambda follow EgoX Conditioning's match; shown here when sampling starts."
        if differs := differences_of(patched):
            warn(cls, differs)
        show_text(cls, text)
        return io.NodeOutput(patched)


NODES = [Exo2EgoGGA]
