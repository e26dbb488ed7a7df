"""What the pack's own sockets take, and those of other packs: rules as in `checks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from ...common.messages import arrived, few, sentence
from ...common.typed_fields import wrong_field
from ...geometry.cameras.camera import Camera
from ...geometry.depth.depth import Depth
from ...geometry.finite import first_not_finite
from ...geometry.plucker import PluckerMaps
from ...geometry.points.point_cloud import PointCloud
from ...networks.components.set import SynComponents
from ...networks.components.shapes import check_tensors
from ...takes.clips.cut import Cut
from ...wan.exo2egosyn.views import ExoViews
from .checks import Rule, is_plain, label, unfit

# Characters of an error's own text, which may repeat what it was given.
_LONGEST = 500


def _rule(
    kind: type, what: str, makers: str, *, rebuilt: Callable[[Any], Any] = replace, has_holes: bool = False
) -> Rule:
    """Make the rule of a payload: its class, and its constructor's checks once more.

    A payload is frozen, yet its tensors can be changed, and other packs can make one past the constructor. What goes
    on is the rebuilt one, in the form that its class documents.
    """
    advice = f"Connect {makers}."

    def rule(declared: Any, value: Any) -> Any:
        if not isinstance(value, kind):
            raise unfit(declared, what, arrived(value), advice)
        try:
            again = rebuilt(value)
            _check_fields(again)
        except ValueError as error:
            raise ValueError(
                f"{label(declared)} got {what} that is not in order: {sentence(str(error)[:_LONGEST])} {advice}"
            ) from error
        except (TypeError, AttributeError, RuntimeError, LookupError) as error:
            held = few([f"{field.name} {arrived(getattr(value, field.name, None))}" for field in fields(kind)], 6)
            raise unfit(declared, what, f"one with the wrong contents ({held})", advice) from error
        for field in () if has_holes else fields(kind):
            _refuse_not_finite(declared, field.name, getattr(again, field.name))
        return again

    return rule


def _refuse_not_finite(declared: Any, name: str, values: Any) -> None:
    parts = values if isinstance(values, tuple) else (values,)
    for number, part in enumerate(parts):
        if isinstance(part, Tensor) and (first := first_not_finite(part)) is not None:
            where = f"frame {number if isinstance(values, tuple) else first}"
            raise ValueError(
                f"{label(declared)} takes finite numbers; its {name} holds NaN or infinity, first in {where}. Run the "
                "node before it again; if it stays so, please report it."
            )


def _check_fields(value: Any) -> None:
    """Check that the fields of a payload are what it declares, and its tensors plain ones.

    Raises:
        TypeError: if one is something else.
    """
    if (name := wrong_field(value)) is not None:
        raise TypeError(name)
    for field in fields(value):
        held = getattr(value, field.name)
        for part in held if isinstance(held, tuple) else (held,):
            if isinstance(part, Tensor) and not is_plain(part):
                raise TypeError(field.name)


def _camera(value: Camera) -> Camera:
    return replace(value, lens=replace(value.lens))


def _components(value: SynComponents) -> SynComponents:
    for component, part in value.parts.items():
        if part.component is not component or check_tensors(part.metadata, part.state_dict) != part.config:
            raise TypeError(component.value)
    return value


def _splat(declared: Any, value: Any) -> Any:
    """Check that a payload is of a class as core's SPLAT; its reader in `geometry` looks into it."""
    if any(not isinstance(getattr(value, name, None), Tensor) for name in ("positions", "opacities", "sh")):
        raise unfit(declared, "Gaussian splats", arrived(value), "Connect a SPLAT output of ComfyUI's own nodes.")
    return value


def _keyed(what: str, advice: str) -> Rule:
    """Make the rule of another pack's payload: what its reader in `geometry` looks into at all."""

    def rule(declared: Any, value: Any) -> Any:
        if not isinstance(value, Mapping) and (not isinstance(value, Sequence) or isinstance(value, str | bytes)):
            raise unfit(declared, what, arrived(value), advice)
        return value

    return rule


_LOADERS = "Load Take or Load Ego-Exo4D Take"

PAYLOAD_RULES: dict[str, Rule] = {
    "EXO2EGO_CAMERA": _rule(Camera, "a camera", f"Camera, Camera from File, Head Pose, {_LOADERS}", rebuilt=_camera),
    # Its constructor marks what is invalid, inverse depth by NaN.
    "EXO2EGO_DEPTH": _rule(Depth, "depth", "Depth, Align Depth or Load Take", has_holes=True),
    "EXO2EGO_CUT": _rule(Cut, "what was cut from a clip", "cut of Load Clip"),
    "EXO2EGO_POINTS": _rule(PointCloud, "points", "Point Cloud"),
    "EXO2EGO_PLUCKER": _rule(PluckerMaps, "Pluecker maps", "Pluecker Maps"),
    "EXO2EGO_SYN": _rule(SynComponents, "components of Exo2EgoSyn", "Exo2EgoSyn Loader", rebuilt=_components),
    "EXO2EGO_EXO_VIEWS": _rule(ExoViews, "exo views", "Multi Exo Tokens"),
    "POSE_KEYPOINT": _keyed("keypoints as one dictionary a frame", "Connect DWPose, SDPose or Load Keypoints."),
    "MHR_POSE_DATA": _keyed("SAM 3D Body's poses", "Connect MHR_POSE_DATA of ComfyUI's own nodes."),
    "KIMODO_POSE_DATA": _keyed("Kimodo's rigs", "Connect KIMODO_POSE_DATA of Kimodo's nodes."),
    "FACE_LANDMARKS": _keyed("MediaPipe's faces", "Connect FACE_LANDMARKS of ComfyUI's own nodes."),
    "MOGE_GEOMETRY": _keyed("MoGe's geometry", "Connect moge_geometry of MoGe Inference."),
    "SAM3_TRACK_DATA": _keyed("SAM 3's tracked objects", "Connect track_data of SAM3 Video Track."),
    "SPLAT": _splat,
    "DA3_GEOMETRY": _keyed("Depth Anything 3's geometry", "Connect da3_geometry of Run Depth Anything 3."),
    "LOAD3D_CAMERA": _keyed("a 3D viewer's camera", "Connect camera_info of Load 3D."),
}
